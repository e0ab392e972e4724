"""Put somebody out of every target at once, whatever else is down."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.lookup import require_tenant
from app.cli.options import config_option, duration, json_option, read_settings
from app.cli.output import print_object, print_rows, printable

if TYPE_CHECKING:
    from app.cli.revoking import Revoked

_COLUMNS = ("target", "node", "user", "result", "seconds", "detail")


@click.command("revoke")
@click.argument("tenant")
@click.argument("user")
@click.option("--now", is_flag=True, required=True, help="Say so: it takes effect at once.")
@click.option("--hold", is_flag=True, help="Keep them out until `clickhouse-scim release`.")
@click.option(
    "--within",
    type=duration(least=1),
    default="10s",
    show_default=True,
    metavar="10s|SECONDS",
    help="How long each server is looked at until no way in is left.",
)
@config_option
@json_option
def command(
    *, tenant: str, user: str, now: bool, hold: bool, within: int, config: Path, as_json: bool
) -> int:
    """Take all access from USER on every server of TENANT's targets, now.

    USER is a userName, an agent's name, a resource's id, or the name on ClickHouse. Roles and
    privileges are revoked, running queries killed, both locks set; then each server is looked at
    until no way in is left. Only the configuration and the targets are needed: Redis, workers
    and the identity provider may be down. Users that are not managed are left alone.

    With --hold nothing lets them in again until `clickhouse-scim release`: the directory keeps
    that; while Redis is down the targets do, and the first worker that meets it there makes it
    the tenant's. Without --hold the next change, or look for drift, gives back what the identity
    provider says.

    Exit code 0 if every server was reached and nothing is left on any; else 1.

    Example: clickhouse-scim revoke acme ana@acme.example --now --hold
    """
    del now  # click has asked for it
    settings = read_settings(config)
    require_tenant(settings, tenant)
    import asyncio  # noqa: PLC0415 - not for --help

    from app.cli.revoking import revoked  # noqa: PLC0415 - not for --help

    result = asyncio.run(revoked(settings, tenant, user, hold=hold, within_s=within))
    if as_json:
        print_object(
            {
                "tenant": tenant,
                "user": user,
                "held": result.held,
                "directory": result.known.error or "answered",
                "targets": [row.told() for row in result.rows],
            }
        )
    else:
        rows = [row.told() for row in result.rows]
        print_rows(rows, _COLUMNS, as_json=False, empty="the tenant has no targets")
    for line in _remarks(result, tenant, user):
        click.echo(printable(line), err=True)
    return 0 if result.is_out and result.is_somebody else 1


def _remarks(result: Revoked, tenant: str, user: str) -> list[str]:
    lines = [
        f"{row.target} ({row.node}) was not reached: {row.detail.rstrip('.')};"
        " run this again when it answers"
        for row in result.rows
        if row.result == "unreachable"
    ]
    if not result.is_somebody:
        lines.append(
            f"neither the directory nor a target knows {user!r};"
            f" `clickhouse-scim access show {tenant}` lists who is there"
        )
    if result.known.error is not None:
        lines.append(f"the directory was not asked: {result.known.error}")
    again = f"`clickhouse-scim release {tenant} {shlex.quote(user)}`"
    if result.held == "directory":
        lines.append(f"{user} is held on all targets until {again}")
    elif result.held == "targets":
        reached = [f"{r.target} ({r.node})" for r in result.rows if r.result in {"out", "left"}]
        lines.append(
            f"the hold is kept by {', '.join(reached)} and becomes the tenant's when a worker"
            f" meets it there; it lasts until {again}"
            if reached
            else "no hold is kept anywhere: run this again when Redis or a target answers"
        )
    elif result.is_somebody:
        lines.append(
            f"{user} is not held: the next change or look for drift gives back what the identity"
            " provider says; --hold keeps them out"
        )
    return lines
