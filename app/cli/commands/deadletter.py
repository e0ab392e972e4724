"""List, show, replay and discard what a lane could not apply."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.lookup import select_lanes
from app.cli.options import (
    config_option,
    confirmed,
    duration,
    json_option,
    read_joined_settings,
    target_option,
    tenant_option,
    yes_option,
)
from app.cli.output import print_fields, print_object, print_rows, printable

if TYPE_CHECKING:
    from app.cli.letters import LetterId, Outcome

_COLUMNS = ("id", "name", "code", "error", "attempts", "first_at", "last_at")

_code_option = click.option("--code", type=int, help="With this error code of ClickHouse only.")
_text_option = click.option("--text", help="With this in the name or the error only.")
_revocations_option = click.option(
    "--revocations", is_flag=True, help="Only what should take access away and has not."
)


@click.group("deadletter")
def command() -> None:
    """See what a lane could not apply and went on without, and send it through again.

    There is one dead letter a lane and resource. ID reads TENANT/TARGET/RESOURCE_ID; the
    RESOURCE_ID of a role of the configuration is role:NAME.

    Example: clickhouse-scim deadletter list
    """


@command.command("list")
@tenant_option
@target_option
@_code_option
@_text_option
@_revocations_option
@click.option("--limit", type=click.IntRange(1), help="So many at most.")
@click.option("--skip", type=click.IntRange(0), default=0, help="Without so many of the oldest.")
@config_option
@json_option
def list_(
    *,
    tenant: str | None,
    target: str | None,
    code: int | None,
    text: str | None,
    revocations: bool,
    limit: int | None,
    skip: int,
    config: Path,
    as_json: bool,
) -> None:
    """List dead letters, the oldest first.

    Example: clickhouse-scim deadletter list --tenant acme --code 493 --limit 50
    """
    settings = read_joined_settings(config)
    lanes = select_lanes(settings, tenant, target)
    from app.cli import letters  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    narrowed = letters.Narrowed(code=code, text=text, revocations=revocations)
    found = run_linked(settings, lambda shards: letters.found(shards, lanes, narrowed))
    shown = list(found.items())[skip : None if limit is None else skip + limit]
    rows = [letters.row(one, letter) for one, letter in shown]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="there are no dead letters")


@command.command("show")
@click.argument("letter_id", metavar="ID")
@config_option
@json_option
def show(*, letter_id: str, config: Path, as_json: bool) -> None:
    """Show all of one dead letter.

    Example: clickhouse-scim deadletter show acme/main/2819c223-7f76-453a-919d-413861904646
    """
    settings = read_joined_settings(config)
    from app.cli import letters  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    wanted = letters.parse_id(settings, letter_id)
    found = run_linked(settings, lambda shards: letters.those(shards, [wanted]))
    if wanted not in found:
        raise _no_letter(wanted)
    print_fields(letters.row(wanted, found[wanted]), as_json=as_json)


@command.command("replay", short_help="Let workers try once more, and wait.")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All, or all that the options below leave.")
@tenant_option
@target_option
@_code_option
@_text_option
@click.option(
    "--deadline",
    type=duration(least=1),
    default="60s",
    show_default=True,
    metavar="60s|SECONDS",
    help="How long to wait for workers.",
)
@click.option(
    "--rate",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="So many a second of each lane.",
)
@config_option
@json_option
def replay(
    *,
    letter_ids: tuple[str, ...],
    every: bool,
    tenant: str | None,
    target: str | None,
    code: int | None,
    text: str | None,
    deadline: int,
    rate: int,
    config: Path,
    as_json: bool,
) -> int:
    """Let workers try dead letters once more, and wait for what comes of it.

    Exit code 0 if all went through; 1 if some are parked again, are no dead letters any more, or
    were not tried in time. With --json: an array of {id, result, error}, where result is
    through, parked, gone or unanswered.

    Example: clickhouse-scim deadletter replay --all --tenant acme
    """
    narrowing = any(option is not None for option in (tenant, target, code, text))
    if every == bool(letter_ids) or (narrowing and not every):
        raise click.UsageError(
            "name one ID or more, or give --all, which --tenant, --target, --code and --text"
            " narrow.",
            click.get_current_context(silent=True),
        )
    settings = read_joined_settings(config)
    lanes = select_lanes(settings, tenant, target)
    from app.cli import letters  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    if every:
        narrowed = letters.Narrowed(code=code, text=text)
        ids = list(run_linked(settings, lambda shards: letters.found(shards, lanes, narrowed)))
    else:
        ids = [letters.parse_id(settings, one) for one in letter_ids]
    with _progress(len(ids)) as done:
        outcomes = run_linked(
            settings,
            lambda shards: letters.replayed(
                shards, settings, ids, deadline_s=deadline, rate=rate, done=done
            ),
        )
    failed = [outcome for outcome in outcomes if outcome.why is not None]
    if as_json:
        print_object([outcome.row() for outcome in outcomes])
    else:
        click.echo(_summary(len(outcomes), len(failed)))
    for outcome in failed:
        click.echo(
            f"{printable(str(outcome.id))}: {outcome.result}: {printable(outcome.why)}", err=True
        )
    return 1 if failed else 0


@command.command("discard", short_help="Forget dead letters.")
@click.argument("letter_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why nobody needs it; printed with what is gone.")
@yes_option
@click.option(
    "--revocations-too",
    is_flag=True,
    help="Also discard what should take access away and has not: that access stays.",
)
@config_option
@json_option
def discard(
    *,
    letter_ids: tuple[str, ...],
    reason: str,
    yes: bool,
    revocations_too: bool,
    config: Path,
    as_json: bool,
) -> int:
    """Forget dead letters: their resources stay on the target as they are until they change again.

    It is printed with the reason, and the ledger keeps both. Without a ledger keep what is printed.

    Example: clickhouse-scim deadletter discard acme/main/2819c223 --reason "made by hand"
    """
    settings = read_joined_settings(config)
    from app.cli import letters  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    ids = [letters.parse_id(settings, one) for one in letter_ids]
    there = run_linked(settings, lambda shards: letters.those(shards, ids))
    for one in ids:
        if one not in there:
            raise _no_letter(one)
        if there[one].revocation and not revocations_too:
            raise click.ClickException(
                f"{printable(str(one))} should take access away that"
                f" {printable(there[one].name)} still has on {one.target}:"
                " mend the cause and replay it, or add --revocations-too"
            )
    details = (
        f"{printable(str(one))}: {printable(letter.name)}: {printable(letter.error)}"
        for one, letter in there.items()
    )
    if not (yes or confirmed(f"Discard {len(there)} of them for good?", details)):
        click.echo("Nothing is discarded.", err=True)
        return 1
    gone = run_linked(settings, lambda shards: letters.discarded(shards, settings, there, reason))
    rows = [letters.row(one, there[one]) | {"reason": reason} for one in gone]
    if as_json:
        print_object(rows)
    else:
        for row in rows:
            click.echo(f"discarded {printable(row['id'])}: {printable(reason)}")
    return 0


def _no_letter(letter_id: LetterId) -> click.ClickException:
    return click.ClickException(
        f"there is no dead letter {printable(str(letter_id))} (any more);"
        " `clickhouse-scim deadletter list` shows those that there are"
    )


def _summary(all_of_them: int, failed: int) -> str:
    if not all_of_them:
        return "there are no dead letters to replay"
    return f"{all_of_them - failed} of {all_of_them} went through"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """Show a bar on a terminal, on stderr; yield what is called for each outcome."""
    if not (total and sys.stderr.isatty()):
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("replaying", total=total)
        yield lambda _: bar.advance(task)
