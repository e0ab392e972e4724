"""Print what a changed configuration or directory would change on targets, and change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import not_reached, require_target, require_tenant, select_lanes
from app.cli.options import config_option, json_option, read_joined_settings, target_option
from app.cli.output import print_object, print_rows, printable
from app.cli.progress import counting

if TYPE_CHECKING:
    from app.cli.plans import Planned
    from workers.access.effects import Change

_SHOWN_NAMES, _SHOWN_SQL, _SHOWN_FAULTS = 5, 200, 20


@click.command("plan")
@click.argument("tenant")
@target_option
@config_option
@json_option
def command(*, tenant: str, target: str | None, config: Path, as_json: bool) -> int:
    """Print the statements that the configuration and the directory would cause on targets.

    All of TENANT's directory is compared with each target, as a lane does it; nothing is sent or
    written. Also who gains and who loses: the log-in, each role, each table. With --config a file
    can be tried before workers read it. Exit code 0 if there is nothing to do, 1 if there is
    something, or if a target can't be looked at.

    What the brake for mass changes would hold until somebody confirms it is told as `held`.

    With --json: an array of {tenant, target, looked_at, actions, statements, log_in, roles,
    tables, held, refused}, held null or {names, log_ins_lost, log_ins, grants_lost, grants}.

    Example: clickhouse-scim plan acme --target eu --config changed.toml
    """
    settings = read_joined_settings(config)
    require_tenant(settings, tenant)
    if target is not None:
        require_target(settings, tenant, target)
    lanes = select_lanes(settings, tenant, target)
    from app.cli.linked import run_linked  # noqa: PLC0415 - not for --help
    from app.cli.plans import planned  # noqa: PLC0415
    from app.errors import TargetError  # noqa: PLC0415

    plans: list[Planned] = []
    failures = 0
    for lane in lanes:
        try:
            with counting(f"looking at resources on {lane.target}") as told:
                plans.append(
                    run_linked(settings, lambda shards: planned(shards, settings, lane, told))  # noqa: B023
                )
        except TargetError as error:
            failures += 1
            click.echo(printable(not_reached(f"{lane} can't be looked at", error)), err=True)
    if as_json:
        print_object([plan.row() for plan in plans])
    else:
        for plan in plans:
            _print(plan)
    return 1 if failures or any(plan.rehearsed.statements for plan in plans) else 0


def _print(plan: Planned) -> None:
    done = plan.rehearsed
    count = len(done.statements)
    what = f"{count} statement{'s' * (count != 1)}" if count else "nothing to do"
    click.echo(f"{plan.lane}: {what}; resources looked at: {done.looked_at}")
    if count:
        print_rows(plan.actions, ("action", "statements", "names"), as_json=False, empty="")
        from workers.access.statements import masked  # noqa: PLC0415 - not for --help

        for statement in done.statements:
            click.echo(f"{_short(printable(masked(statement.sql)))};")
        print_rows(
            list(_gains_and_losses(plan)),
            ("what", "gain", "who gains", "lose", "who loses"),
            as_json=False,
            empty="nobody gains or loses anything",
        )
    if (held := done.braked) is not None:
        click.echo(
            f"the brake would hold what {len(held.names)} users lose"
            f" ({held.gone.users} of {held.whole.users} log-ins, {held.gone.grants} of"
            f" {held.whole.grants} grants), until `clickhouse-scim lane resume {plan.lane.tenant}"
            f" {plan.lane.target} --confirm`: {printable(_some(held.names))}"
        )
    faults = list(done.faults.values())
    for fault in faults[:_SHOWN_FAULTS]:
        click.echo(f"can't be applied: {printable(fault.error)}")
    if len(faults) > _SHOWN_FAULTS:
        click.echo(f"and {len(faults) - _SHOWN_FAULTS} more; --json has them all")


def _gains_and_losses(plan: Planned) -> Iterator[dict[str, Any]]:
    if plan.log_in.gains or plan.log_in.loses:
        yield _row("log-in", plan.log_in)
    for role, change in plan.roles.items():
        yield _row(f"role {role}", change)
    for grant, change in plan.tables.items():
        yield _row(f"{grant.access} on {grant.object}", change)


def _row(what: str, change: Change) -> dict[str, Any]:
    return {
        "what": what,
        "gain": len(change.gains),
        "who gains": _some(change.gains),
        "lose": len(change.loses),
        "who loses": _some(change.loses),
    }


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f", and {more} more" if more > 0 else "")


def _short(sql: str) -> str:
    return sql if len(sql) <= _SHOWN_SQL else f"{sql[:_SHOWN_SQL]}…"
