"""What a statement is for the server: rows to stream, data to take, access to change, a query to
kill, or just text for the engine.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from itertools import pairwise

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.on_cluster import split_on_cluster
from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens, read_tokens


class Use(StrEnum):
    SELECT = auto()
    INSERT_DATA = auto()  # the client sends blocks
    ACCESS = auto()
    KILL = auto()
    SETTINGS = auto()  # SET, SET ROLE, EXECUTE AS: what the session was has changed
    USE = auto()
    PARALLEL = auto()  # several, an access statement among them
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Statement:
    """`sql`: the statement without its FORMAT clause; `format`: what that clause names, or empty.

    Of an INSERT with data, `sql` ends before its SETTINGS or VALUES; `target`: the table or
    function as written; `columns`: its list, with the parentheses, or empty.
    """

    use: Use
    sql: str
    format: str = ""
    target: str = ""
    columns: str = ""
    settings: str = ""
    cluster: str = ""  # from its ON CLUSTER clause, which `sql` is without

    @property
    def column_names(self) -> tuple[str, ...] | None:
        """The list's names where it is nothing but names, else None (`* EXCEPT …`)."""
        tokens = parse_tokens(self.columns)[1:-1]
        names = []
        for i, token in enumerate(tokens):
            if i % 2 and token.is_sign(","):
                continue
            if i % 2 or token.kind not in {Kind.WORD, Kind.NAME}:
                return None
            names.append(token.raw if token.kind is Kind.WORD else token.value)
        return tuple(names)


_NOT_IMPLEMENTED, _SYNTAX_ERROR, _UNKNOWN_TYPE_OF_QUERY = 48, 62, 78
_ACCESS_ENTITIES = {"TOKEN", "USER", "ROLE", "QUOTA", "PROFILE", "POLICY"}
_ENTITY_PREFIXES = {"SETTINGS", "ROW", "MASKING"}


def parse_statement(sql: str) -> Statement:
    tokens = parse_tokens(sql)
    while tokens and tokens[-1].is_sign(";"):
        tokens = tokens[:-1]
    if not tokens:
        raise ServerError(_SYNTAX_ERROR, "DB::Exception: Syntax error: Empty query")
    _refuse_files(sql, tokens)
    sql = sql[: tokens[-1].end]
    parts = split_parallel(sql)
    if len(parts) > 1:
        uses = {parse_statement(part).use for part in parts}
        return Statement(Use.PARALLEL if Use.ACCESS in uses else Use.OTHER, sql)
    sql, cluster = split_on_cluster(sql, after_execute_as(tokens))
    if cluster:
        return replace(parse_statement(sql), cluster=cluster)
    first = tokens[0]
    if first.is_word("INSERT"):
        found = split_insert(sql)
        return found[0] if found and not found[1].strip() else Statement(Use.OTHER, sql)
    if is_access(tokens):
        return Statement(Use.ACCESS, sql)
    sql, output = _without_format(sql, tokens)
    if first.is_word("SELECT", "WITH", "FROM") or first.is_sign("("):
        inserts = any(token.is_word("INSERT") for token in tokens)  # WITH … INSERT INTO … SELECT
        return Statement(Use.OTHER if inserts else Use.SELECT, sql, output)
    if first.is_word("KILL"):
        return Statement(Use.KILL, sql, output)
    if first.is_word("SET", "EXECUTE"):
        return Statement(Use.SETTINGS, sql, output)
    return Statement(Use.USE if first.is_word("USE") else Use.OTHER, sql, output)


def _refuse_files(sql: str, tokens: Sequence[Token]) -> None:
    """A server knows no files of a client's; the engine, made for the same process, does."""
    if "FILE" not in sql.upper():
        return
    for token, follower in pairwise(tokens):
        if token.is_word("INTO") and follower.is_word("OUTFILE"):
            raise ServerError(_NOT_IMPLEMENTED, "DB::Exception: INTO OUTFILE is for the client")
        if token.is_word("FROM") and follower.is_word("INFILE"):
            raise ServerError(
                _UNKNOWN_TYPE_OF_QUERY,
                "DB::Exception: Query has infile and was send directly to server",
            )


def split_parallel(sql: str) -> list[str]:
    """Return the statements that PARALLEL WITH joins; one where it joins none."""
    if "PARALLEL" not in sql.upper():
        return [sql]
    parts, start, depth = [], 0, 0
    for token, follower in pairwise(parse_tokens(sql)):
        depth += token.is_sign("(") - token.is_sign(")")
        if not depth and token.is_word("PARALLEL") and follower.is_word("WITH"):
            parts.append(sql[start : token.start])
            start = follower.end
    return [*parts, sql[start:]]


def find_parameters(sql: str) -> list[tuple[int, int, str, bool]]:
    """Return each `{name:Type}`: where it starts and ends, its name, is it an identifier."""
    tokens = parse_tokens(sql)
    return [
        (opening.start, closing.end, name.raw, kind.is_word("IDENTIFIER"))
        for opening, name, colon, kind, closing in zip(
            tokens, tokens[1:], tokens[2:], tokens[3:], tokens[4:], strict=False
        )
        if opening.is_sign("{")
        and name.kind is Kind.WORD
        and colon.is_sign(":")
        and closing.is_sign("}")
    ]


def after_execute_as(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return the tokens without `EXECUTE AS name` before a statement that is run for another."""
    if len(tokens) > 3 and tokens[0].is_word("EXECUTE") and tokens[1].is_word("AS"):
        return tokens[3:]
    return tokens


def is_access(tokens: Sequence[Token]) -> bool:
    tokens = after_execute_as(tokens)
    first, *rest = tokens
    if first.is_word("GRANT", "REVOKE"):
        return True
    if first.is_word("SET"):
        return len(rest) > 1 and rest[0].is_word("DEFAULT") and rest[1].is_word("ROLE")
    if not first.is_word("CREATE", "ALTER", "DROP", "MOVE"):
        return False
    words = [token.value for token in rest[:4] if token.kind is Kind.WORD]
    if words[:2] == ["OR", "REPLACE"]:
        del words[:2]
    if words and words[0] in _ENTITY_PREFIXES:
        del words[0]
    return bool(words) and words[0] in _ACCESS_ENTITIES


def split_insert(text: str) -> tuple[Statement, str] | None:
    """Return an INSERT that takes data, and the data that stands in the text; None for all else.

    Nothing is read from where the data starts, so `text` may be the beginning of a longer one, and
    its data of any kind.
    """
    tokens = _up_to_data(text)
    if not tokens:
        return None
    at = 1
    for word in ("INTO", "TABLE"):
        if tokens[at].is_word(word):
            at += 1
    start = at
    if tokens[at].is_word("FUNCTION"):
        at = _closing(tokens, at + 2) + 1
    else:
        at += 1
        while tokens[at].is_sign("."):
            at += 2
    if at >= len(tokens):
        return None
    target, columns = text[tokens[start].start : tokens[at - 1].end], ""
    if tokens[at].is_sign("("):
        close = _closing(tokens, at)
        columns = text[tokens[at].start : tokens[close].end]
        at = close + 1
    named = tokens[-2].is_word("FORMAT")
    tail = len(tokens) - (2 if named else 1)
    statement = Statement(
        Use.INSERT_DATA,
        text[: tokens[at - 1].end],
        tokens[-1].raw if named else "Values",
        target,
        columns,
        text[tokens[at].start : tokens[tail - 1].end] if tail > at else "",
    )
    data = text[tokens[-1].end :]
    return statement, _GAP.sub("", data, count=1) if named else data


_GAP = re.compile(r"\A[ \t\f]*;?[ \t\f]*\r?\n?")  # between a format's name and the data


def _up_to_data(text: str) -> list[Token]:
    """Return an INSERT's tokens up to VALUES or the format's name; none where no data may follow.

    Whatever is refused here is an INSERT that the engine runs, or refuses, as it stands.
    """
    tokens: list[Token] = []
    depth = 0
    for token in read_tokens(text):
        if not tokens and not token.is_word("INSERT"):
            return []
        tokens.append(token)
        if len(tokens) > 1 and tokens[-2].is_word("FORMAT") and not _is_named(tokens, -2):
            return tokens if token.kind in {Kind.WORD, Kind.NAME} else []
        depth += token.is_sign("(") - token.is_sign(")")
        if depth or _is_named(tokens, -1):
            continue
        if token.is_word("SELECT", "WITH", "FROM", "WATCH"):
            return []
        if token.is_word("VALUES"):
            return tokens if len(tokens) > 2 else []
    return []


def _is_named(tokens: Sequence[Token], at: int) -> bool:
    """Tell whether the token at `at` is a name for what stands before it, not a keyword."""
    if len(tokens) < 1 - at:
        return False
    before = tokens[at - 1]
    return before.is_word("INTO", "TABLE", "FUNCTION") or before.is_sign(".")


def _closing(tokens: Sequence[Token], at: int) -> int:
    """Return the index of the parenthesis that closes the one at `at`; past the end if none."""
    depth = 0
    for index in range(at, len(tokens)):
        if tokens[index].is_sign("("):
            depth += 1
        elif tokens[index].is_sign(")"):
            depth -= 1
            if depth == 0:
                return index
    return len(tokens)


def _without_format(sql: str, tokens: Sequence[Token]) -> tuple[str, str]:
    """Cut `FORMAT name` out of the end of a query, where only SETTINGS may follow it."""
    for index in range(len(tokens) - 2, 0, -1):
        token = tokens[index]
        if token.is_sign(")"):
            return sql, ""
        if token.is_word("FORMAT") and tokens[index + 1].kind in {Kind.WORD, Kind.NAME}:
            name, after = tokens[index + 1], tokens[index + 2 :]
            if not after or after[0].is_word("SETTINGS"):
                output = name.raw if name.kind is Kind.WORD else name.value
                return sql[: token.start] + sql[name.end :], output
    return sql, ""
