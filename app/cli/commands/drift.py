"""Compare targets with what the directory says, and mend what others have changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.lookup import select_lanes
from app.cli.options import (
    config_option,
    duration,
    json_option,
    read_joined_settings,
    target_option,
    tenant_option,
)
from app.cli.output import print_rows, printable
from app.cli.progress import counting

if TYPE_CHECKING:
    from app.cli.rehearsals import Checked

# What one tenant makes on a target, and another gives there, may come too late the first time.
_ROUNDS = 2
_COLUMNS = ("tenant", "target", "kind", "name", "what", "expected", "actual", "since")


@click.group("drift")
def command() -> None:
    """See what is not on a target as the directory says, and mend it.

    Workers do the same by themselves, every `drift.interval_seconds`.

    Example: clickhouse-scim drift check
    """


@command.command("check", short_help="Print what differs; change nothing.")
@tenant_option
@target_option
@config_option
@json_option
def check(*, tenant: str | None, target: str | None, config: Path, as_json: bool) -> int:
    """Compare everything that is managed on targets with the directory. Nothing is changed.

    Exit code 0 if nothing differs; 1 if something does, or if a target can't be checked. What a
    target refuses is a dead letter and no drift. What others gave to managed users differs, and
    is kept while `foreign_grants` is report: no repair takes it.

    Example: clickhouse-scim drift check --tenant acme --json
    """
    settings = read_joined_settings(config)
    lanes = select_lanes(settings, tenant, target)
    from app.cli.linked import run_linked  # noqa: PLC0415 - not for --help
    from app.cli.rehearsals import checked  # noqa: PLC0415

    with counting("looking at resources") as told:
        result = run_linked(settings, lambda shards: checked(shards, settings, lanes, told))
    rows = result.rows
    print_rows(rows, _COLUMNS, as_json=as_json, empty=_nothing(result))
    _tell_the_rest(result)
    return 1 if rows or result.failures else 0


@command.command("repair", short_help="Mend what differs, and wait for it.")
@tenant_option
@target_option
@click.option(
    "--deadline",
    type=duration(least=1),
    default="10m",
    show_default=True,
    metavar="10m|SECONDS",
    help="How long it may take.",
)
@config_option
@json_option
def repair(
    *, tenant: str | None, target: str | None, deadline: int, config: Path, as_json: bool
) -> int:
    """Let lanes go through everybody and mend what differs, whatever `drift.policy` says.

    It needs no worker, and works beside those that run. Prints what differed, each with whether it
    is mended. Exit code 0 when nothing differs any more.

    Example: clickhouse-scim drift repair --tenant acme
    """
    settings = read_joined_settings(config)
    lanes = select_lanes(settings, tenant, target)
    from app.cli.linked import run_linked  # noqa: PLC0415 - not for --help
    from app.cli.rehearsals import checked, repaired  # noqa: PLC0415

    with counting("looking at resources") as told:
        before = run_linked(settings, lambda shards: checked(shards, settings, lanes, told))
    for _ in range(_ROUNDS):
        with counting("mending"):
            failures = run_linked(
                settings, lambda shards: repaired(shards, settings, lanes, deadline)
            )
        with counting("looking again") as told:
            after = run_linked(settings, lambda shards: checked(shards, settings, lanes, told))
        left = after.rows
        if failures or all(row["kept"] or after.refuses(row) for row in left):
            break
    rows = [row | {"mended": row not in left and not after.refuses(row)} for row in before.rows]
    rows += [row | {"mended": False} for row in left if row not in before.rows]
    print_rows(rows, (*_COLUMNS, "mended"), as_json=as_json, empty=_nothing(after))
    for why in failures.values():
        click.echo(printable(why), err=True)
    _tell_the_rest(after)
    is_mended = all(row["mended"] or row["kept"] for row in rows)
    return 0 if is_mended and not failures and not after.failures else 1


def _nothing(result: Checked) -> str:
    """Return what a table without a row says; where no lane was reached, stderr says why."""
    if result.failures and not result.drifts:
        return ""
    return f"nothing differs; lanes checked: {len(result.drifts)}"


def _tell_the_rest(result: Checked) -> None:
    for why in result.failures.values():
        click.echo(printable(why), err=True)
    for lane, drift in result.drifts.items():
        if drift.refused:
            click.echo(
                f"{lane}: {len(drift.refused)} can't be applied; see `clickhouse-scim deadletter"
                f" list --tenant {lane.tenant} --target {lane.target}`",
                err=True,
            )
        if drift.differences and result.waiting[lane] > 0:
            click.echo(
                f"{lane}: {result.waiting[lane]} events are yet to be applied; what they change"
                " is among the differences",
                err=True,
            )
