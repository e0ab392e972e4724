"""Show who holds which role on which target, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import require_target, require_tenant, select_lanes
from app.cli.options import config_option, json_option, read_joined_settings, target_option
from app.cli.output import print_rows, printable
from app.cli.progress import counting

if TYPE_CHECKING:
    from datetime import datetime

_COLUMNS = ("target", "user", "state", "door", "role", "wanted", "held", "because")


def _time(text: str) -> datetime:
    from app.cli.audits import parse_time  # noqa: PLC0415 - not for --help

    return parse_time(text)


@click.group("access")
def command() -> None:
    """See who holds what on targets, and what gives it.

    Example: clickhouse-scim access show acme --user ana@acme.example
    """


@command.command("show", short_help="Show roles of users, and why they have them.")
@click.argument("tenant")
@click.option("--user", metavar="USER", help="userName, agent, resource id or ClickHouse name.")
@click.option("--role", metavar="ROLE", help="Only this role: who should hold it or does.")
@target_option
@click.option(
    "--at",
    type=_time,
    metavar="TIME",
    help="At this time (UTC if unsaid), out of the ledger; else now, on the targets.",
)
@config_option
@json_option
def show(
    *,
    tenant: str,
    user: str | None,
    role: str | None,
    target: str | None,
    at: datetime | None,
    config: Path,
    as_json: bool,
) -> int:
    """Show what the directory and the role map give on each target, and what is there.

    A row for each user and role: `wanted` says whether it should be held, `held` whether it is,
    `because` which groups give it, by which entry of the role map. A role that is held and not
    wanted was given by others. Exit code 1 if nobody is found, or if a target can't be looked at.

    With --json: an array of {tenant, target, user, user_name, resource_id, state, until, door,
    role, wanted, held, because}, because an array of {mapping, groups, until}.

    With --at: what was held at that time, as targets were last seen then; `wanted` says whether the
    directory gave it, and nothing is said of why.

    Example: clickhouse-scim access show acme --role analyst --target eu
    """
    settings = read_joined_settings(config)
    require_tenant(settings, tenant)
    if target is not None:
        require_target(settings, tenant, target)
    if at is not None:
        from app.cli.audits import held_at  # noqa: PLC0415 - not for --help

        past = held_at(settings, tenant, at, user=user, role=role, target=target)
        print_rows(past, _COLUMNS, as_json=as_json, empty="nobody held that")
        return 0
    lanes = select_lanes(settings, tenant, target)
    from app.cli.accesses import shown  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    with counting("looking at resources") as told:
        result = run_linked(
            settings,
            lambda shards: shown(shards, settings, lanes, user=user, role=role, told=told),
        )
    rows = result.rows
    if not as_json:
        rows = [row | {"because": _because(row["because"])} for row in rows]
    print_rows(rows, _COLUMNS, as_json=as_json, empty=_nobody(user, role))
    for why in result.failures.values():
        click.echo(printable(why), err=True)
    is_found = bool(rows) or (user is None and role is None)
    return 0 if is_found and not result.failures else 1


@command.command("groups", short_help="Show which group is behind each entry of the role map.")
@click.argument("tenant")
@config_option
@json_option
def groups(*, tenant: str, config: Path, as_json: bool) -> None:
    """Show which group gives each role: one that was renamed since, or has not been seen yet, too.

    A group stays behind its entry through renames (`renamed`). Another one that takes the name
    meanwhile gives nothing, and shows as `taken_by`, with its id. An entry whose group is `missing`
    gives its roles as soon as the identity provider sends one of that name or externalId.

    With --json: an array of {tenant, mapping, name, group_id, display_name, state, taken_by,
    roles}. `mapping` is `name:…` or `ext:…`, as the file has it, `pattern`, or `unmapped_groups`.

    Example: clickhouse-scim access groups acme
    """
    settings = read_joined_settings(config)
    require_tenant(settings, tenant)
    from app.cli.linked import run_at  # noqa: PLC0415 - not for --help
    from app.cli.mappings import mapped  # noqa: PLC0415

    configured = settings.tenants[tenant]
    rows = run_at(settings, tenant, lambda link: mapped(link, tenant, configured))
    columns = ("mapping", "display_name", "state", "taken_by", "roles")
    print_rows(rows, columns, as_json=as_json, empty="the role map speaks of no group")


def _because(reasons: list[dict[str, Any]]) -> str:
    return "; ".join(
        " < ".join(map(repr, reason["groups"])) + f" ({reason['mapping']})"
        if reason["groups"]
        else str(reason["mapping"])
        for reason in reasons
    )


def _nobody(user: str | None, role: str | None) -> str:
    if user is not None:
        return f"neither the directory nor a target knows {user!r}"
    return f"nobody holds or should hold {role}" if role is not None else "there is nobody"
