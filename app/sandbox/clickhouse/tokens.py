"""ClickHouse's lexer, as far as a front end needs it: where names, texts and keywords are.

Rules from `src/Parsers/Lexer.cpp`: comments `-- …`, `# …`, `#! …`, `/* … */`; strings in single
quotes and names in backticks or double quotes, where a backslash escapes and a doubled quote stands
for itself; heredocs `$tag$ … $tag$`. Text that this cannot read is left to the engine to refuse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum, auto
from functools import lru_cache
from itertools import islice
from typing import NamedTuple


class Kind(StrEnum):
    WORD = auto()
    NAME = auto()  # in backticks or double quotes
    TEXT = auto()  # in single quotes, or a heredoc
    NUMBER = auto()
    SIGN = auto()


class Token(NamedTuple):
    """`value`: a keyword in capitals, a name or text without its quotes, else as written.

    `start`, `end`: where it stands in the statement. `raw`: as written.
    """

    kind: Kind
    value: str
    start: int
    end: int
    raw: str

    def is_word(self, *words: str) -> bool:
        return self.kind is Kind.WORD and self.value in words

    def is_sign(self, *signs: str) -> bool:
        return self.kind is Kind.SIGN and self.value in signs


_TOKEN = re.compile(
    r"""
      (?P<skip> \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
    | (?P<text> '(?: [^'\\] | \\. | '' )*' )
    | (?P<name> `(?: [^`\\] | \\. | `` )*` | "(?: [^"\\] | \\. | "" )*" )
    | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<word> [^\W\d][\w$]* )
    | (?P<number> \d[\w.]* )
    | (?P<sign> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""(?P<bytes> (?: \\x[0-9A-Fa-f]{2} )+ ) | \\(?P<one> . ) | (?P<twice> ['`"])(?P=twice)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = dict(
    zip("bfnrt0aveN", ("\b", "\f", "\n", "\r", "\t", "\0", "\a", "\v", "\x1b", ""), strict=True)
)


@lru_cache(maxsize=8)  # a statement is looked at several times in a row
def parse_tokens(sql: str, limit: int | None = None) -> tuple[Token, ...]:
    """Return the statement's tokens, or its first `limit` ones, without comments."""
    return tuple(islice(read_tokens(sql), limit))


def read_tokens(sql: str) -> Iterator[Token]:
    """Yield the statement's tokens, without comments, reading no further than is asked for."""
    for found in _TOKEN.finditer(sql):
        raw = found[0]
        match found.lastgroup:
            case "skip":
                continue
            case "text":
                kind, value = Kind.TEXT, _unquote(raw)
            case "name":
                kind, value = Kind.NAME, _unquote(raw)
            case "heredoc":
                tag = len(found["tag"]) + 2
                kind, value = Kind.TEXT, raw[tag:-tag]
            case "word":
                kind, value = Kind.WORD, raw.upper()
            case "number":
                kind, value = Kind.NUMBER, raw
            case _:
                kind, value = Kind.SIGN, raw
        yield Token(kind, value, found.start(), found.end(), raw)


def render_name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def render_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _unquote(raw: str) -> str:
    quote = raw[0]

    def replace(found: re.Match[str]) -> str:
        if found["bytes"]:
            return bytes.fromhex(found["bytes"].replace("\\x", "")).decode(
                "utf-8", "surrogateescape"
            )
        if found["twice"]:
            return quote if found["twice"] == quote else found[0]
        code = found["one"]
        return _ESCAPED.get(code, code if code in "\\'`\"/=" else found[0])

    return _ESCAPE.sub(replace, raw[1:-1])
