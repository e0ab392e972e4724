"""Look at Redis, targets and tokens, and tell what is wrong and how to mend it."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import config_option, json_option, read_settings
from app.cli.output import print_rows

_COLUMNS = ("status", "check", "subject", "finding", "mend")


@click.command("doctor")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> int:
    """Look at everything that the configuration names. Exit code 1 if something fails.

    Redis: reachable, durable, never evicting, its clock. Targets: each host, log-in, version,
    clock, the rights of the workers' account. Tokens: whether there is one, and when it ends.
    Nothing is changed. With --json: an array of {check, subject, status, finding, mend}.

    Example: clickhouse-scim doctor --config clickhouse-scim.toml
    """
    settings = read_settings(config)
    import asyncio  # noqa: PLC0415 - not for --help

    from app.cli.examining import examine  # noqa: PLC0415
    from app.doctor.finding import Status  # noqa: PLC0415

    found = asyncio.run(examine(settings))
    rows = [
        {
            "check": one.check,
            "subject": one.subject,
            "status": one.status.value,
            "finding": one.finding,
            "mend": one.mend,
        }
        for one in found
    ]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="there is nothing to look at")
    return int(any(one.status is Status.FAIL for one in found))
