"""List members of groups that are nobody yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import require_tenant
from app.cli.options import config_option, json_option, read_settings
from app.cli.output import iso, print_rows

if TYPE_CHECKING:
    from app.directory.link import Link

_COLUMNS = ("group", "member_id", "since", "ages_out_at")
_AT_ONCE = 1000
_DAY_MS = 86_400_000


@click.command("pending")
@click.argument("tenant")
@config_option
@json_option
def command(*, tenant: str, config: Path, as_json: bool) -> None:
    """List members of TENANT's groups that no user, agent or group has the id of, oldest first.

    An identity provider may push a membership before the user. As soon as the user arrives the
    member is one like any other. One that never arrives is taken out of the group after
    `limits.pending_days`.

    Example: clickhouse-scim pending acme --json
    """
    settings = read_settings(config)
    require_tenant(settings, tenant)
    from app.cli.linked import run_at  # noqa: PLC0415 - not for --help

    kept_ms = int(settings.limits.pending_days * _DAY_MS)
    rows = run_at(settings, tenant, lambda link: _rows(link, tenant, kept_ms))
    print_rows(rows, _COLUMNS, as_json=as_json, empty=f"every member of {tenant}'s groups is known")


async def _rows(link: Link, tenant: str, kept_ms: int) -> list[dict[str, Any]]:
    from app.directory.reader import Reader  # noqa: PLC0415 - not for --help

    reader = Reader(link, tenant)
    rows = []
    for start in range(0, await reader.pending_count(), _AT_ONCE):
        waiting = await reader.pending(start=start, count=_AT_ONCE)
        groups = await reader.get_many("group", sorted({one.group_id for one in waiting}))
        rows += [
            {
                "group": groups[one.group_id].document["displayName"],
                "group_id": one.group_id,
                "member_id": one.member_id,
                "since": iso(one.since_ms),
                "ages_out_at": iso(one.since_ms + kept_ms) if kept_ms else None,
            }
            for one in waiting
            if one.group_id in groups
        ]
    return rows
