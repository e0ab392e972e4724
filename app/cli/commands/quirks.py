"""Show which quirks a tenant's identity provider has, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import require_tenant
from app.cli.options import config_option, json_option, read_settings
from app.cli.output import iso, print_rows

if TYPE_CHECKING:
    from app.directory.link import Link

_COLUMNS = ("quirk", "read_as", "count", "last_at")


@click.command("quirks")
@click.argument("tenant")
@config_option
@json_option
def command(*, tenant: str, config: Path, as_json: bool) -> None:
    """Show where the identity provider of TENANT departs from the RFCs, and how that is read.

    Nothing has to be done about it. An `unknown-attribute` is not kept: declare it, or take it out
    of the provider's mapping.

    Example: clickhouse-scim quirks acme --json
    """
    settings = read_settings(config)
    require_tenant(settings, tenant)
    from app.cli.linked import run_at  # noqa: PLC0415 - not for --help

    rows = run_at(settings, tenant, lambda link: _rows(link, tenant))
    empty = f"the identity provider of {tenant} has sent nothing out of the ordinary"
    print_rows(rows, _COLUMNS, as_json=as_json, empty=empty)


async def _rows(link: Link, tenant: str) -> list[dict[str, Any]]:
    from app.directory.quirks import QuirkLog  # noqa: PLC0415 - not for --help
    from app.scim.quirks import READ_AS  # noqa: PLC0415

    return [
        {
            "quirk": str(seen.quirk),
            "read_as": READ_AS[seen.quirk],
            "count": seen.count,
            "last_at": iso(seen.last_ms),
        }
        for seen in await QuirkLog(link, tenant).read()
    ]
