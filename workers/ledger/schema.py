"""The ledger's schema: alembic says which statements are due, the native protocol carries them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from app.config.ledger import LedgerSettings
from app.errors import StatementRefused, TargetError
from workers.access.statements.quoting import quote_identifier, quote_literal
from workers.ledger.rows import TABLES
from workers.ledger.store import Store

_VERSION_TABLE = "schema_version"
_TABLE_EXISTS, _UNKNOWN_TABLE, _UNKNOWN_DATABASE = 57, 60, 81
_TTL = quote_literal(r"TTL toDateTime\(at\) \+ toIntervalDay\((\d+)\)")
_ROOT = Path(__file__).parents[2]


def _location() -> Path:
    """Return the folder of the migrations: packed into the wheel, or beside the packages."""
    packed = _ROOT / "app" / "_alembic"
    return packed if packed.is_dir() else _ROOT / "alembic"


class _Statements(list[str]):
    """Takes what alembic writes, a statement at a time."""

    def write(self, text: str) -> None:
        statement = text.strip().rstrip(";")
        if statement and not statement.startswith("--"):
            self.append(statement)

    def flush(self) -> None:
        pass


def _config() -> tuple[Config, _Statements]:
    config, buffer = Config(), _Statements()
    config.set_main_option("script_location", str(_location()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["buffer"] = buffer
    return config, buffer


def head() -> str:
    """Return the version that this software needs."""
    return ScriptDirectory.from_config(_config()[0]).get_current_head() or ""


def statements(current: str | None) -> list[str]:
    """Return what brings the schema from the version `current` to the head, in order."""
    config, buffer = _config()
    command.upgrade(config, f"{current}:head" if current else "head", sql=True)
    return list(buffer)


async def current(store: Store) -> str | None:
    """Return the version that the ledger has, None if it has no tables yet."""
    try:
        rows = await store.query(f"SELECT max(version_num) FROM {_VERSION_TABLE}")  # noqa: S608
    except TargetError as error:  # a missing database refuses the log-in
        if error.code in {_UNKNOWN_TABLE, _UNKNOWN_DATABASE}:
            return None
        raise
    return rows[0][0] or None


async def is_behind(settings: LedgerSettings) -> bool:
    """Whether `migrate` has something to do. Raises TargetError if the ledger does not answer."""
    store = Store(settings)
    try:
        return await current(store) != head()
    finally:
        await store.close()


@dataclass(frozen=True, slots=True)
class Migrated:
    """Versions before and after, and how many statements that took."""

    before: str | None
    after: str
    statements: int


async def migrate(
    settings: LedgerSettings, told: Callable[[str], None] = lambda _: None
) -> Migrated:
    """Bring the ledger's schema to this version; may be run again after any failure.

    Makes the database if it is not there. `told` is called with each statement that is sent. One
    migration at a time: nothing locks the ledger. Raises TargetError.
    """
    await _make_database(settings)
    store = Store(settings)
    try:
        before, sent = await current(store), 0
        for statement in (*statements(before), *await _ttl(store, settings)):
            told(statement)
            try:
                await store.query(statement)
            except StatementRefused as error:
                # A migration that stopped before its first version was noted.
                if error.code != _TABLE_EXISTS or _VERSION_TABLE not in statement:
                    raise
            sent += 1
        return Migrated(before, head(), sent)
    finally:
        await store.close()


async def _make_database(settings: LedgerSettings) -> None:
    """An account that may not make databases finds that its own is there already."""
    store = Store(settings, database="")
    name = settings.database
    try:
        rows = await store.query(
            f"SELECT count() FROM system.databases WHERE name = {quote_literal(name)}"  # noqa: S608
        )
        if not rows[0][0]:
            await store.query(f"CREATE DATABASE IF NOT EXISTS {quote_identifier(name)}")
    finally:
        await store.close()


async def _ttl(store: Store, settings: LedgerSettings) -> list[str]:
    """Return what makes rows live as long as the configuration says."""
    wanted = dict.fromkeys(TABLES.values(), settings.facts_days)
    wanted["events"] = settings.events_days
    names = ", ".join(map(quote_literal, sorted(wanted)))
    rows = await store.query(
        f"SELECT name, extract(create_table_query, {_TTL}) FROM system.tables"  # noqa: S608 - quoted
        f" WHERE database = currentDatabase() AND name IN ({names})"
    )
    held = {name: int(days or 0) for name, days in rows}
    changes = []
    for name, days in sorted(wanted.items()):
        if days and held.get(name, 0) != days:
            ttl = f"toDateTime(at) + toIntervalDay({days:d})"
            changes.append(f"ALTER TABLE {quote_identifier(name)} MODIFY TTL {ttl}")
        elif not days and held.get(name, 0):
            changes.append(f"ALTER TABLE {quote_identifier(name)} REMOVE TTL")
    return changes
