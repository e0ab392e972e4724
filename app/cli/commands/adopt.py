"""Take over users that were on a target before, and give them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.cli.lookup import require_target
from app.cli.options import (
    config_option,
    duration,
    json_option,
    objected,
    read_joined_settings,
    yes_option,
)
from app.cli.output import print_rows, printable
from app.cli.progress import counting

if TYPE_CHECKING:
    from app.cli.adopting import Adopting

Function = TypeVar("Function", bound=Callable[..., Any])

_COLUMNS = ("target", "name", "verdict", "gains", "loses", "reason")
_DONE = ("target", "name", "done")


def _chosen(function: Function) -> Function:
    """Add TENANT, TARGET, NAME…, `--all`, `--yes` and `--deadline`."""
    function = click.option(
        "--deadline",
        type=duration(least=1),
        default="60s",
        show_default=True,
        metavar="60s|SECONDS",
        help="How long it may take.",
    )(function)
    function = yes_option(function)
    function = click.option("--all", "every", is_flag=True, help="In place of NAME: all.")(function)
    function = click.argument("names", metavar="[NAME]...", nargs=-1)(function)
    function = click.argument("target")(function)
    return click.argument("tenant")(function)


@click.group("adopt")
def command() -> None:
    """Let resources have the users of their names that were on a target before SCIM.

    An adopted user keeps its log-in and what it holds. It gets the roles of its groups, and is
    locked when the identity provider says so. What it was is kept, so it can be given back.

    Example: clickhouse-scim adopt plan acme eu
    """


@command.command("plan", short_help="Print which users would be adopted; change nothing.")
@click.argument("tenant")
@click.argument("target")
@config_option
@json_option
def plan(*, tenant: str, target: str, config: Path, as_json: bool) -> int:
    """Print a match for each resource whose name a user on the target has already.

    The verdict is adopt (it can be), refuse (it can't, with the reason), adopted, or managed (the
    software made it). gains and loses are roles. Exit code 1 if the target can't be looked at.

    Example: clickhouse-scim adopt plan acme eu --json
    """
    settings = read_joined_settings(config)
    lanes = require_target(settings, tenant, target)
    from app.cli.adopting import matched  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    with counting("looking at resources") as told:
        result = run_linked(settings, lambda shards: matched(shards, settings, lanes, told))
    rows = result.rows()
    empty = "" if result.failures else "no user there has the name of a resource"
    print_rows(rows, _COLUMNS, as_json=as_json, empty=empty)
    for why in result.failures.values():
        click.echo(printable(why), err=True)
    return 1 if result.failures else 0


@command.command("apply", short_help="Adopt users, and wait for it.")
@_chosen
@config_option
@json_option
def apply(
    *,
    tenant: str,
    target: str,
    names: tuple[str, ...],
    every: bool,
    yes: bool,
    deadline: int,
    config: Path,
    as_json: bool,
) -> int:
    """Adopt the users NAME, or with --all each that `adopt plan` says adopt of.

    It needs no worker, and works beside those that run. Exit code 0 when all are adopted.

    Example: clickhouse-scim adopt apply acme eu ana@acme.example
    """
    _require_choice(names, every=every)
    settings = read_joined_settings(config)
    lanes = require_target(settings, tenant, target)
    what = f"Adopt everybody on {target} who can be (`adopt plan` lists them)?"
    if every and objected(what, yes=yes):
        return 1
    from app.cli.adopting import adopted  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    with counting("adopting"):
        result = run_linked(
            settings, lambda shards: adopted(shards, settings, lanes, names, within=deadline)
        )
    return _told(result, as_json=as_json, empty="there is nobody to adopt")


@command.command("undo", short_help="Give adopted users back, and wait for it.")
@_chosen
@config_option
@json_option
def undo(
    *,
    tenant: str,
    target: str,
    names: tuple[str, ...],
    every: bool,
    yes: bool,
    deadline: int,
    config: Path,
    as_json: bool,
) -> int:
    """Give the adopted users NAME, or with --all every one, back as they were.

    They are not adopted again until `adopt apply` names them. Their resources become dead
    letters, since the name is taken. Exit code 0 when all are given back.

    Example: clickhouse-scim adopt undo acme eu ana@acme.example
    """
    _require_choice(names, every=every)
    settings = read_joined_settings(config)
    lanes = require_target(settings, tenant, target)
    what = f"Give everybody on {target} back who was adopted? Their resources lose access there."
    if every and objected(what, yes=yes):
        return 1
    from app.cli.adopting import given_back  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    with counting("giving back"):
        result = run_linked(
            settings, lambda shards: given_back(shards, settings, lanes, names, within=deadline)
        )
    return _told(result, as_json=as_json, empty="nobody was adopted")


def _require_choice(names: tuple[str, ...], *, every: bool) -> None:
    if every == bool(names):
        raise click.UsageError(
            "name one NAME or more, or give --all.", click.get_current_context(silent=True)
        )


def _told(result: Adopting, *, as_json: bool, empty: str) -> int:
    print_rows(result.rows, _DONE, as_json=as_json, empty="" if result.failures else empty)
    for why in result.failures:
        click.echo(printable(why), err=True)
    return 0 if result.is_done else 1
