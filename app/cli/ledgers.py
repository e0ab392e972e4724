"""The ledger as commands use it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from app.errors import ConfigError, Problem, TargetError

if TYPE_CHECKING:
    from app.config.ledger import LedgerSettings
    from app.config.settings import Settings

_UNKNOWN_TABLE, _UNKNOWN_DATABASE = 60, 81


def require_ledger(settings: Settings) -> LedgerSettings:
    """Return where the ledger is. Raises ConfigError if the configuration has none."""
    if settings.ledger is None:
        raise ConfigError([Problem("ledger", "is missing; add [ledger] with its url")])
    return settings.ledger


@contextlib.contextmanager
def told_plainly(ledger: LedgerSettings) -> Iterator[None]:
    """Turn what the ledger's server says into one line that says what to do."""
    try:
        yield
    except TargetError as error:
        if error.code in {_UNKNOWN_TABLE, _UNKNOWN_DATABASE}:
            reason = "it has no such table; run `clickhouse-scim migrate`"
        else:
            said = str(error).splitlines()[0][:300].rstrip(".")
            reason = f"{said}; `clickhouse-scim doctor` says what mends it"
        raise click.ClickException(f"the ledger at {ledger.host}: {reason}") from error
