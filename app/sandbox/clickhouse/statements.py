"""What a statement is for the server: rows to stream, data to take, access to change, a query to
kill, or just text for the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from itertools import pairwise

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens


class Use(StrEnum):
    SELECT = auto()
    INSERT_DATA = auto()  # the client sends blocks
    ACCESS = auto()
    KILL = auto()
    SETTINGS = auto()  # SET, SET ROLE, EXECUTE AS: what the session was has changed
    USE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Statement:
    """`sql`: the statement without its FORMAT clause, since the client formats (native protocol).

    Of an INSERT with data, `sql` ends before its SETTINGS or VALUES; `target`: the table or
    function as written; `columns`: its list, with the parentheses, or empty.
    """

    use: Use
    sql: str
    target: str = ""
    columns: str = ""
    settings: str = ""

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
_ACCESS_ENTITIES = {"USER", "ROLE", "QUOTA", "PROFILE", "POLICY"}
_ENTITY_PREFIXES = {"SETTINGS", "ROW", "MASKING"}


def parse_statement(sql: str) -> Statement:
    tokens = parse_tokens(sql)
    while tokens and tokens[-1].is_sign(";"):
        tokens.pop()
    if not tokens:
        raise ServerError(_SYNTAX_ERROR, "DB::Exception: Syntax error: Empty query")
    _refuse_files(tokens)
    sql = sql[: tokens[-1].end]
    first = tokens[0]
    if first.is_word("INSERT"):
        return _insert(sql, tokens)
    if is_access(tokens):
        return Statement(Use.ACCESS, sql)
    sql = _without_format(sql, tokens)
    if first.is_word("SELECT", "WITH", "FROM") or first.is_sign("("):
        inserts = any(token.is_word("INSERT") for token in tokens)  # WITH … INSERT INTO … SELECT
        return Statement(Use.OTHER if inserts else Use.SELECT, sql)
    if first.is_word("KILL"):
        return Statement(Use.KILL, sql)
    if first.is_word("SET", "EXECUTE"):
        return Statement(Use.SETTINGS, sql)
    return Statement(Use.USE if first.is_word("USE") else Use.OTHER, sql)


def _refuse_files(tokens: Sequence[Token]) -> None:
    """A server knows no files of a client's; the engine, made for the same process, does."""
    for token, follower in pairwise(tokens):
        if token.is_word("INTO") and follower.is_word("OUTFILE"):
            raise ServerError(_NOT_IMPLEMENTED, "DB::Exception: INTO OUTFILE is for the client")
        if token.is_word("FROM") and follower.is_word("INFILE"):
            raise ServerError(
                _UNKNOWN_TYPE_OF_QUERY,
                "DB::Exception: Query has infile and was send directly to server",
            )


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


def _insert(sql: str, tokens: Sequence[Token]) -> Statement:
    """Tell an INSERT whose rows the client sends from one that the engine can run as it stands."""
    at = 1
    for word in ("INTO", "TABLE"):
        if at < len(tokens) and tokens[at].is_word(word):
            at += 1
    start = at
    if at < len(tokens) and tokens[at].is_word("FUNCTION"):
        at = _closing(tokens, at + 2) + 1 if at + 2 < len(tokens) else len(tokens)
    else:
        at += 1
        while at + 1 < len(tokens) and tokens[at].is_sign("."):
            at += 2
    target = sql[tokens[start].start : tokens[at - 1].end] if start < at <= len(tokens) else ""
    columns = ""
    if at < len(tokens) and tokens[at].is_sign("(") and not _opens_select(tokens, at):
        close = _closing(tokens, at)
        columns = sql[tokens[at].start : tokens[min(close, len(tokens) - 1)].end]
        at = close + 1
    head = at
    while at < len(tokens) and not tokens[at].is_word("VALUES", "FORMAT", "SELECT", "WITH", "FROM"):
        at += 1
    if at >= len(tokens) or not tokens[at].is_word("VALUES", "FORMAT"):
        return Statement(Use.OTHER, sql)
    data = at + 1 if tokens[at].is_word("VALUES") else at + 2
    if data < len(tokens):
        return Statement(Use.OTHER, sql)
    settings = sql[tokens[head].start : tokens[at - 1].end] if at > head else ""
    return Statement(Use.INSERT_DATA, sql[: tokens[head - 1].end], target, columns, settings)


def _opens_select(tokens: Sequence[Token], at: int) -> bool:
    return at + 1 < len(tokens) and tokens[at + 1].is_word("SELECT", "WITH")


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


def _without_format(sql: str, tokens: Sequence[Token]) -> str:
    """Cut `FORMAT name` out of the end of a query, where only SETTINGS may follow it."""
    for index in range(len(tokens) - 2, 0, -1):
        token = tokens[index]
        if token.is_sign(")"):
            return sql
        if token.is_word("FORMAT") and tokens[index + 1].kind in {Kind.WORD, Kind.NAME}:
            after = tokens[index + 2 :]
            if not after or after[0].is_word("SETTINGS"):
                return sql[: token.start] + sql[tokens[index + 1].end :]
    return sql
