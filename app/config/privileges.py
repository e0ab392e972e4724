"""What a role definition may hand out: `SELECT(id, country), INSERT ON crm.customers`, as values.

Only privileges of the table below are accepted, so a privilege that a later ClickHouse invents is
refused until somebody has thought about it. Left out on purpose is everything that changes access,
reaches out of the server, acts as somebody else, or operates the server: a role map is fed by group
names of an identity provider, and must not be a way to become an administrator.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.config.suggest import closest


class Level(StrEnum):
    """The narrowest thing that a privilege can be granted on (`level` in `system.privileges`)."""

    COLUMN = "column"
    TABLE = "table"
    DATABASE = "database"
    GLOBAL = "global"


PRIVILEGES: dict[str, Level] = {
    "SELECT": Level.COLUMN,
    "INSERT": Level.COLUMN,
    "ALTER UPDATE": Level.COLUMN,
    "ALTER DELETE": Level.COLUMN,
    "ALTER COLUMN": Level.COLUMN,
    "ALTER ADD COLUMN": Level.COLUMN,
    "ALTER MODIFY COLUMN": Level.COLUMN,
    "ALTER DROP COLUMN": Level.COLUMN,
    "ALTER COMMENT COLUMN": Level.COLUMN,
    "ALTER CLEAR COLUMN": Level.COLUMN,
    "ALTER RENAME COLUMN": Level.COLUMN,
    "ALTER MATERIALIZE COLUMN": Level.COLUMN,
    "SHOW COLUMNS": Level.COLUMN,
    "ALTER TABLE": Level.TABLE,
    "ALTER INDEX": Level.TABLE,
    "ALTER ORDER BY": Level.TABLE,
    "ALTER SAMPLE BY": Level.TABLE,
    "ALTER PROJECTION": Level.TABLE,
    "ALTER CONSTRAINT": Level.TABLE,
    "ALTER TTL": Level.TABLE,
    "ALTER MATERIALIZE TTL": Level.TABLE,
    "ALTER SETTINGS": Level.TABLE,
    "ALTER MODIFY COMMENT": Level.TABLE,
    "ALTER MOVE PARTITION": Level.TABLE,
    "ALTER FREEZE PARTITION": Level.TABLE,
    "CHECK": Level.TABLE,
    "CREATE TABLE": Level.TABLE,
    "CREATE VIEW": Level.TABLE,
    "DROP TABLE": Level.TABLE,
    "DROP VIEW": Level.TABLE,
    "DROP DICTIONARY": Level.TABLE,
    "UNDROP TABLE": Level.TABLE,
    "TRUNCATE": Level.TABLE,
    "OPTIMIZE": Level.TABLE,
    "SHOW": Level.TABLE,
    "SHOW TABLES": Level.TABLE,
    "SHOW DICTIONARIES": Level.TABLE,
    "dictGet": Level.TABLE,
    "CREATE DATABASE": Level.DATABASE,
    "DROP DATABASE": Level.DATABASE,
    "SHOW DATABASES": Level.DATABASE,
    "CREATE TEMPORARY TABLE": Level.GLOBAL,
    "CLUSTER": Level.GLOBAL,
}

_ACCESS = r"USER|ROLE|QUOTA|ROW POLICY|POLICY|MASKING POLICY|SETTINGS PROFILE|PROFILE"
_MANAGEMENT = (
    r"ACCESS MANAGEMENT|ROLE ADMIN|ALLOW SQL SECURITY NONE|SHOW ACCESS|SHOW ROW POLICIES"
    rf"|(CREATE|ALTER|DROP|SHOW|SHOW CREATE) ({_ACCESS})|SHOW ({_ACCESS})S"
)
_SOURCES = (
    r"SOURCES|FILE|URL|REMOTE|MONGO|REDIS|MYSQL|POSTGRES|SQLITE|ODBC|JDBC|HDFS|S3|HIVE|AZURE|KAFKA"
    r"|NATS|RABBITMQ|YTSAURUS|ARROW FLIGHT|BIGQUERY|DISK|READ|WRITE"
)
_INTERNALS = r"INTROSPECTION|addressTo.*|demangle"

# First match wins. Each reason completes "X can't be handed out by a role map: it …".
NEVER: tuple[tuple[str, str], ...] = (
    (r"ALL( PRIVILEGES)?", "holds every right, also the right to make administrators"),
    (r"NONE|USAGE|NO PRIVILEGES", "gives nothing"),
    (
        _MANAGEMENT,
        "manages access itself, so its holder could become an administrator",
    ),
    (
        r"IMPERSONATE|EXECUTE AS|SET DEFINER",
        "lets its holder act with the rights of somebody else",
    ),
    (r"ALTER VIEW.*", "changes what a view does with the rights of its definer"),
    (
        r"CREATE DICTIONARY",
        "lets its holder read with the account that the dictionary's source names",
    ),
    (_SOURCES, "reaches other servers from inside, this one too, as a user of the holder's choice"),
    (
        r"NAMED COLLECTION.*|.* NAMED COLLECTIONS?( SECRETS)?|displaySecretsInShowAndSelect",
        "shows or changes stored credentials",
    ),
    (r"SYSTEM\b.*|KILL .*|MOVE PARTITION BETWEEN SHARDS", "operates the server for everybody"),
    (_INTERNALS, "reads the server's memory layout"),
    (r"BACKUP", "copies data out of reach of row policies and later revocations"),
    (
        r"(CREATE|DROP|ALTER|SHOW) (FUNCTION|WORKLOAD|RESOURCE|HANDLERS?)",
        "changes the whole server, not data",
    ),
    (r"CREATE|DROP|ALTER", "covers more than tables; write what is meant, as in CREATE TABLE"),
)

_TOKEN = re.compile(
    r"\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|`(?P<quoted>(?:[^`\\]|\\[`\\]|``)+)`|(?P<mark>[*.,()]))"
)
_SHAPE = "write it as in SELECT(id, country), INSERT ON crm.customers"


class PrivilegeError(ValueError):
    """The text is no privilege that a role map may hand out; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Privilege:
    """What `GRANT` takes, unquoted: rendering it as SQL is the statements' business.

    `access`: each privilege with its columns; no columns means the whole object.
    `database`, `table`: exact names, or the beginning of a name where the wildcard is true, so
    `*.*` is ("", True, "", True), `logs*.*` is ("logs", True, "", True).
    """

    access: tuple[tuple[str, tuple[str, ...]], ...]
    database: str
    database_wildcard: bool
    table: str
    table_wildcard: bool


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    quoted: bool = False

    def is_mark(self, mark: str) -> bool:
        return not self.quoted and self.text == mark


def parse_privilege(text: str) -> Privilege:
    """Return the privilege that `text` names, the part of a GRANT between GRANT and TO.

    Raises PrivilegeError for everything else: other syntax, unknown or dangerous privileges,
    columns or objects that the privilege can't be limited to (ClickHouse error 509).
    """
    tokens = list(_tokens(text))
    words = [not token.quoted and token.text.upper() for token in tokens]
    if "ON" not in words:
        raise PrivilegeError(f"says not on what; {_SHAPE}")
    at = words.index("ON")
    access = tuple(_access(tokens[:at]))
    database, table = _object(tokens[at + 1 :])
    privilege = Privilege(access, *database, *table)
    for name, columns in access:
        _check_level(name, columns, privilege)
    return privilege


def parse_table(text: str) -> tuple[str, str]:
    """Return (database, table) of `db.table`; names that are not plain words go in backticks."""
    try:
        database, table = _object(list(_tokens(text)))
    except PrivilegeError:
        raise PrivilegeError("is no table; write it as database.table") from None
    if database[1] or table[1]:
        raise PrivilegeError("must be one table, written database.table, without *")
    return database[0], table[0]


def _tokens(text: str) -> Iterator[_Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise PrivilegeError(f"can't be read at {rest[:1]!r}; {_SHAPE}")
        if (quoted := match["quoted"]) is not None:
            yield _Token(re.sub(r"\\(.)|``", lambda m: m[1] or "`", quoted), quoted=True)
        else:
            yield _Token(match["word"] or match["mark"])
        at = match.end()


def _access(tokens: list[_Token]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each `NAME` or `NAME(column, …)` of a list with commas between."""
    at = 0
    while True:
        words: list[str] = []
        while at < len(tokens) and not tokens[at].quoted and tokens[at].text not in "*.,()":
            words.append(tokens[at].text)
            at += 1
        name = _accepted(" ".join(words))
        columns: tuple[str, ...] = ()
        if at < len(tokens) and tokens[at].is_mark("("):
            columns, at = _columns(tokens, at + 1)
        yield name, columns
        if at == len(tokens):
            return
        if not tokens[at].is_mark(","):
            raise PrivilegeError(f"can't be read at {tokens[at].text!r}; {_SHAPE}")
        at += 1


def _columns(tokens: list[_Token], at: int) -> tuple[tuple[str, ...], int]:
    """Return the columns up to the closing parenthesis, and the place after it."""
    columns: list[str] = []
    while at + 1 < len(tokens):
        columns.append(_name(tokens[at]))
        if tokens[at + 1].is_mark(")"):
            return tuple(columns), at + 2
        if not tokens[at + 1].is_mark(","):
            break
        at += 2
    raise PrivilegeError(f"has a broken list of columns; {_SHAPE}")


def _accepted(written: str) -> str:
    """Return the privilege's name as the table has it; keywords ignore case in ClickHouse."""
    if not written:
        raise PrivilegeError(f"names no privilege; {_SHAPE}")
    known = {name.upper(): name for name in PRIVILEGES}
    if (name := known.get(written.upper())) is not None:
        return name
    for pattern, reason in NEVER:
        if re.fullmatch(pattern, written, re.IGNORECASE):
            raise PrivilegeError(f"{written} can't be handed out by a role map: it {reason}")
    hint = closest(written.upper(), known)
    raise PrivilegeError(
        f"{written} is no privilege that a role map can hand out"
        + (f"; did you mean {known[hint]}?" if hint else "")
    )


def _object(tokens: list[_Token]) -> tuple[tuple[str, bool], tuple[str, bool]]:
    """Return (name, wildcard) of the database and of the table."""
    words = [token.text.upper() for token in tokens if not token.quoted]
    if "WITH" in words:
        raise PrivilegeError("can't be handed on: leave WITH GRANT OPTION out")
    dots = [at for at, token in enumerate(tokens) if token.is_mark(".")]
    if len(dots) != 1:
        raise PrivilegeError("must name database and table after ON, as in analytics.*")
    database, table = _pattern(tokens[: dots[0]]), _pattern(tokens[dots[0] + 1 :])
    if database[1] and table != ("", True):
        raise PrivilegeError("takes * for the table where the database has one, as in logs*.*")
    return database, table


def _pattern(tokens: list[_Token]) -> tuple[str, bool]:
    wildcard = bool(tokens) and tokens[-1].is_mark("*")
    names = tokens[:-1] if wildcard else tokens
    if len(names) > 1 or not (names or wildcard):
        raise PrivilegeError("must name one database and one table after ON, as in analytics.*")
    return (_name(names[0]) if names else ""), wildcard


def _name(token: _Token) -> str:
    if not token.quoted and token.text in "*.,()":
        raise PrivilegeError(f"can't be read at {token.text!r}; {_SHAPE}")
    if not token.text.isprintable():
        raise PrivilegeError("has a name with an unprintable character")
    return token.text


def _check_level(name: str, columns: tuple[str, ...], on: Privilege) -> None:
    level = PRIVILEGES[name]
    if columns and (level is not Level.COLUMN or on.table_wildcard):
        raise PrivilegeError(f"{name} can't be limited to columns here; leave the columns out")
    if level is Level.DATABASE and (on.table, on.table_wildcard) != ("", True):
        raise PrivilegeError(f"{name} is about a whole database; write ON database.*")
    if level is Level.GLOBAL and (on.database or on.table):
        raise PrivilegeError(f"{name} is about the whole server; write ON *.*")
