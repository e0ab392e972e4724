"""Make or update the ledger's tables."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import config_option, json_option, read_settings
from app.cli.output import print_object


@click.command("migrate")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> None:
    """Bring the ledger's tables to what this version needs; with nothing to do it does nothing.

    Makes the database if it is not there. Run it before a new version, and after `events_days` or
    `facts_days` was changed; one at a time. A migration that was interrupted is run again.

    Example: clickhouse-scim migrate --config clickhouse-scim.toml
    """
    settings = read_settings(config)
    import asyncio  # noqa: PLC0415 - not for --help

    from app.cli.ledgers import require_ledger, told_plainly  # noqa: PLC0415
    from workers.ledger.schema import migrate  # noqa: PLC0415

    ledger = require_ledger(settings)
    with told_plainly(ledger):
        done = asyncio.run(migrate(ledger))
    if as_json:
        print_object({"before": done.before, "after": done.after, "statements": done.statements})
    elif done.statements:
        click.echo(
            f"The ledger is at version {done.after} (before: {done.before or 'none'};"
            f" statements: {done.statements})."
        )
    else:
        click.echo(f"The ledger is at version {done.after}; there was nothing to do.")
