"""List lanes, pause and resume them, or let them go through the whole directory again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.cli.lookup import LaneName, require_target, select_lanes
from app.cli.options import (
    config_option,
    json_option,
    objected,
    read_joined_settings,
    target_option,
    tenant_option,
    yes_option,
)
from app.cli.output import print_rows

if TYPE_CHECKING:
    from app.cli.lanes import Order, States
    from app.config.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])

_COLUMNS = (
    "tenant",
    "target",
    "state",
    "last_seq",
    "applied_seq",
    "lag_seconds",
    "dead_letters",
    "last_error",
)


def _lane_arguments(function: Function) -> Function:
    """Add TENANT, TARGET and `--all`, which stands for what is left out."""
    function = click.option(
        "--all", "every", is_flag=True, help="All lanes, or all lanes of TENANT."
    )(function)
    function = click.argument("target", required=False)(function)
    return click.argument("tenant", required=False)(function)


@click.group("lane")
def command() -> None:
    """See how far each target is, hold it up, or let it begin again.

    A lane is one tenant on one target. Lanes never wait for one another.

    Example: clickhouse-scim lane list
    """


@command.command("list", short_help="List lanes and how far they are.")
@tenant_option
@target_option
@config_option
@json_option
def list_(*, tenant: str | None, target: str | None, config: Path, as_json: bool) -> None:
    """List the lanes of the configuration: how far they are, and what they wait for.

    A change is on the target when applied_seq has reached the X-Event-Seq of its answer. Of a
    target of storage per_node it is that of the server that is furthest behind; --json has a row
    for each server under `nodes`.

    Example: clickhouse-scim lane list --tenant acme --json
    """
    settings = read_joined_settings(config)
    lanes = select_lanes(settings, tenant, target)
    from app.cli.lanes import states_of_targets  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    found = run_linked(settings, lambda shards: states_of_targets(shards, lanes))
    if found.rows or as_json or not found.failures:
        print_rows(found.rows, _COLUMNS, as_json=as_json, empty="there is no such lane")
    _refuse_partial(found, settings)


@command.command("pause", short_help="Keep workers off a lane.")
@_lane_arguments
@config_option
@json_option
def pause(
    *, tenant: str | None, target: str | None, every: bool, config: Path, as_json: bool
) -> None:
    """Keep workers off a lane: what changes meanwhile waits, revocations too.

    Example: clickhouse-scim lane pause acme main
    """
    settings = read_joined_settings(config)
    _order(settings, _lanes(settings, tenant, target, every=every), "pause", as_json=as_json)


@command.command("resume", short_help="Let workers at a lane again.")
@_lane_arguments
@click.option(
    "--confirm",
    is_flag=True,
    help="Also let through what a blocked lane holds: many users lose access by that.",
)
@yes_option
@config_option
@json_option
def resume(
    *,
    tenant: str | None,
    target: str | None,
    every: bool,
    confirm: bool,
    yes: bool,
    config: Path,
    as_json: bool,
) -> int:
    """Let workers at a lane again; it goes on where it was.

    A lane is blocked where a change would take access from many users in one go: see the users in
    `lane list`, and say --confirm if they are meant to lose it. Without, a blocked lane is an
    error, exit code 1, and stays as it is.

    Example: clickhouse-scim lane resume acme main --confirm
    """
    settings = read_joined_settings(config)
    lanes = _lanes(settings, tenant, target, every=every)
    question = "Let through what every blocked lane holds (`lane list` says what)?"
    if confirm and every and objected(question, yes=yes):
        return 1
    _order(settings, lanes, "confirm" if confirm else "resume", as_json=as_json)
    return 0


@command.command("resync", short_help="Compare every user with the target.")
@_lane_arguments
@config_option
@json_option
def resync(
    *, tenant: str | None, target: str | None, every: bool, config: Path, as_json: bool
) -> None:
    """Compare every user of the directory with the target, and mend what differs.

    It returns at once; `lane list` shows how far the lane is.

    Example: clickhouse-scim lane resync acme main
    """
    settings = read_joined_settings(config)
    _order(settings, _lanes(settings, tenant, target, every=every), "resync", as_json=as_json)


def _lanes(
    settings: Settings, tenant: str | None, target: str | None, *, every: bool
) -> list[LaneName]:
    if every and target is not None:
        raise click.UsageError("--all stands in place of TARGET; leave one of them out.", _here())
    if every:
        return select_lanes(settings, tenant, None)
    if tenant is None or target is None:
        raise click.UsageError("name TENANT and TARGET, or give --all.", _here())
    return require_target(settings, tenant, target)


def _order(settings: Settings, lanes: list[LaneName], order: Order, *, as_json: bool) -> None:
    from app.cli.lanes import ordered  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    found = run_linked(settings, lambda shards: ordered(shards, settings, lanes, order))
    if as_json:
        print_rows(found.rows, _COLUMNS, as_json=True, empty="")
    else:
        for row in found.rows:
            click.echo(_said(order, LaneName(row["tenant"], row["target"]), row["state"]))
    _refuse_partial(found, settings)


def _refuse_partial(found: States, settings: Settings) -> None:
    """Raise ClickException (exit code 1) if a Redis did not answer for its lanes."""
    from app.cli.linked import advice  # noqa: PLC0415 - not for --help

    if found.failures:
        raise click.ClickException(f"{'; '.join(found.failures)}; {advice(settings)}")


def _said(order: Order, lane: LaneName, state: str) -> str:
    again = f"`clickhouse-scim lane resume {lane.tenant} {lane.target}`"
    if order == "pause":
        return f"{lane} is paused; changes wait until {again}"
    if order in {"resume", "confirm"}:
        return f"{lane} goes on"
    if state == "paused":
        return f"{lane} will go through the whole directory once it goes on: it is paused, {again}"
    return f"{lane} goes through the whole directory"


def _here() -> click.Context | None:
    return click.get_current_context(silent=True)
