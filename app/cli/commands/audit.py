"""Ask the ledger what happened, who asked for it, and whether it can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from app.cli.options import config_option, json_option, read_settings, target_option, yes_option
from app.cli.output import print_fields, print_object, printable
from app.cli.progress import counting

if TYPE_CHECKING:
    from datetime import datetime

    from app.config.settings import Settings
    from workers.ledger.questions import Question

Function = TypeVar("Function", bound=Callable[..., Any])
_IN_A_TABLE, _IN_ALL = 1000, 100_000_000  # rows, unless --limit says otherwise


def _time(text: str) -> datetime:
    from app.cli.audits import parse_time  # noqa: PLC0415 - not for --help

    return parse_time(text)


def _quarter(text: str) -> tuple[datetime, datetime]:
    from app.cli.audits import parse_quarter  # noqa: PLC0415 - not for --help

    return parse_quarter(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What every question is asked under: the file, the form of the answer, how long it may be.

    `most`: evidence is whole unless it is cut on purpose.
    """

    settings: Settings
    most: int
    as_json: bool
    as_csv: bool

    def ask(self, question: Question) -> list[dict[str, Any]]:
        from app.cli.audits import ask  # noqa: PLC0415 - not for --help

        return ask(self.settings, question)

    def show(self, rows: list[dict[str, Any]], columns: Sequence[str], empty: str) -> None:
        """Print the answer; `empty` is what a table without rows says."""
        from app.cli.audits import show  # noqa: PLC0415 - not for --help

        form = {"as_json": self.as_json, "as_csv": self.as_csv}
        show(rows, columns, most=self.most, empty=empty, **form)


def _evidence(function: Function) -> Function:
    """Add the options that every question has, passed as `evidence`."""

    @wraps(function)
    def asked(*, as_json: bool, as_csv: bool, limit: int | None, config: Path, **rest: Any) -> Any:
        evidence = Evidence(
            settings=read_settings(config),
            most=limit or (_IN_ALL if as_json or as_csv else _IN_A_TABLE),
            as_json=as_json,
            as_csv=as_csv,
        )
        return function(evidence=evidence, **rest)

    for option in (
        json_option,
        click.option("--csv", "as_csv", is_flag=True, help="Print CSV, with every column."),
        click.option(
            "--limit",
            "limit",
            type=click.IntRange(1, _IN_ALL),
            help=f"How many rows at most; else {_IN_A_TABLE} in a table, and all as JSON or CSV.",
        ),
        config_option,
    ):
        asked = option(asked)
    return cast("Function", asked)


def _period(function: Function) -> Function:
    """Add `--from` and `--to`, passed as `start` and `end`."""
    until = click.option("--to", "end", type=_time, metavar="TIME", help="Before this time.")
    since = click.option(
        "--from", "start", type=_time, metavar="TIME", help="From this time on (UTC if unsaid)."
    )
    return since(until(function))


def _of_tenant(function: Function) -> Function:
    """Add `[TENANT]`, which `--tenant` may name as well; passed as `named` and `tenant`."""
    option = click.option("--tenant", metavar="TENANT", help="The same as [TENANT].")
    return click.argument("named", metavar="[TENANT]", required=False)(option(function))


def _about(metavar: str) -> Callable[[Function], Function]:
    """Add `[TENANT] WHAT`, passed as `words`, and `--tenant`."""

    def added(function: Function) -> Function:
        option = click.option("--tenant", metavar="TENANT", help="The same as [TENANT].")
        words = click.argument("words", metavar=f"[TENANT] {metavar}", nargs=-1, required=True)
        return words(option(function))

    return added


@click.group("audit")
def command() -> None:
    """Ask the ledger what happened, who asked for it, and whether it can be trusted.

    Times are read as UTC unless they name a zone: 2026-11-24 or 2026-11-24T09:30:00+01:00. Without
    TENANT a question is about all tenants, where it can be.

    Example: clickhouse-scim audit person acme ana@acme.example
    """


@command.command("events", short_help="List the changes that were asked for.")
@_of_tenant
@_period
@click.option("--user", metavar="USER", help="Of this person: id, userName or ClickHouse name.")
@click.option("--request-id", "request", metavar="ID", help="Of this request.")
@click.option("--token", metavar="ID", help="Asked for with this token.")
@_evidence
def events(
    *,
    named: str | None,
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    user: str | None,
    request: str | None,
    token: str | None,
    evidence: Evidence,
) -> None:
    """List the changes of the directory, each with who asked and what was there before.

    Example: clickhouse-scim audit events acme --from 2026-11-01 --user ana@acme.example --json
    """
    from workers.ledger import questions  # noqa: PLC0415 - not for --help

    asked = questions.Filter(
        tenant=_tenant(evidence.settings, named, tenant),
        start=start,
        end=end,
        user=user,
        request=request,
        token=token,
        most=evidence.most,
    )
    rows = evidence.ask(questions.events(asked))
    columns = ("tenant", "seq", "at", "op", "type", "name", "request_id", "token_id", "ip")
    empty = "the ledger has no such events"
    evidence.show(rows, columns, empty)


@command.command("statements", short_help="List the statements that were sent to targets.")
@_of_tenant
@_period
@click.option("--user", metavar="USER", help="About this person: id, userName, ClickHouse name.")
@click.option("--request-id", "request", metavar="ID", help="Behind which this request is.")
@target_option
@click.option(
    "--result",
    type=click.Choice(["done", "refused", "unanswered", "sent"]),
    help="With this result; `sent`: whoever sent it died before it heard.",
)
@_evidence
def statements(
    *,
    named: str | None,
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    user: str | None,
    request: str | None,
    target: str | None,
    result: str | None,
    evidence: Evidence,
) -> None:
    """List the statements that were sent to targets, with their results and the events behind them.

    Example: clickhouse-scim audit statements acme --request-id 5e1f --result refused
    """
    from workers.ledger import questions  # noqa: PLC0415 - not for --help

    asked = questions.Filter(
        tenant=_tenant(evidence.settings, named, tenant),
        start=start,
        end=end,
        user=user,
        request=request,
        target=target,
        result=result,
        most=evidence.most,
    )
    rows = evidence.ask(questions.statements(asked))
    columns = ("tenant", "target", "at", "statement", "seqs", "result", "code", "duration_ms")
    empty = "the ledger has no such statements"
    evidence.show(rows, columns, empty)


@command.command("actions", short_help="List what operators did.")
@_of_tenant
@_period
@_evidence
def actions(
    *,
    named: str | None,
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    evidence: Evidence,
) -> None:
    """List what operators did: tokens made and revoked, dead letters replayed, people erased.

    Example: clickhouse-scim audit actions acme --from 2026-11-01
    """
    from workers.ledger import questions  # noqa: PLC0415 - not for --help

    chosen = _tenant(evidence.settings, named, tenant)
    asked = questions.Filter(tenant=chosen, start=start, end=end, most=evidence.most)
    rows = evidence.ask(questions.actions(asked))
    columns = ("tenant", "at", "action", "actor", "subject", "detail")
    empty = "the ledger has no such actions"
    evidence.show(rows, columns, empty)


@command.command("person", short_help="Tell everything about a person.")
@_about("USER")
@_period
@_evidence
def person(
    *,
    words: tuple[str, ...],
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    evidence: Evidence,
) -> None:
    """Tell everything about USER, in order: requests, changes, statements, what was held.

    USER is an id, a userName or a ClickHouse name.

    Example: clickhouse-scim audit person acme ana@acme.example
    """
    from workers.ledger import questions  # noqa: PLC0415 - not for --help

    of, who = _words(evidence.settings, words, tenant)
    asked = questions.Filter(start=start, end=end, most=evidence.most)
    rows = evidence.ask(questions.person(of, who, asked))
    columns = ("at", "what", "target", "seq", "action", "subject", "request", "detail")
    empty = f"the ledger knows nobody as {printable(who)}"
    evidence.show(rows, columns, empty)


@command.command("token", short_help="List the changes that were asked for with a token.")
@_about("ID")
@_period
@_evidence
def token(
    *,
    words: tuple[str, ...],
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    evidence: Evidence,
) -> None:
    """List all changes that were asked for with the token ID.

    Example: clickhouse-scim audit token acme 0f3a9c2b41de --csv
    """
    from workers.ledger import questions  # noqa: PLC0415 - not for --help

    of, token_id = _words(evidence.settings, words, tenant)
    asked = questions.Filter(start=start, end=end, most=evidence.most)
    rows = evidence.ask(questions.by_token(of, token_id, asked))
    columns = ("at", "seq", "op", "type", "name", "members_added", "members_removed", "request_id")
    empty = f"the ledger has no event of token {printable(token_id)}"
    evidence.show(rows, columns, empty)


@command.command("holders", short_help="Tell who holds which role, or held it at a time.")
@_of_tenant
@click.option("--role", metavar="ROLE", help="This role only.")
@click.option("--user", metavar="USER", help="This person only: ClickHouse name or id.")
@target_option
@click.option("--at", type=_time, metavar="TIME", help="At this time; else now.")
@_evidence
def holders(
    *,
    named: str | None,
    tenant: str | None,
    role: str | None,
    user: str | None,
    target: str | None,
    at: datetime | None,
    evidence: Evidence,
) -> None:
    """Tell who holds which role, or held it at a time, as targets were last seen then.

    Example: clickhouse-scim audit holders acme --role analyst --at 2026-09-30
    """
    from app.cli.audits import now  # noqa: PLC0415 - not for --help
    from workers.ledger import questions  # noqa: PLC0415

    of = _one_tenant(evidence.settings, named, tenant)
    question = questions.holders(
        of, at or now(), role=role, user=user, target=target, most=evidence.most
    )
    columns = ("target", "user", "role", "since", "is_explained")
    empty = "nobody held that"
    rows = evidence.ask(question)
    evidence.show(rows, columns, empty)


@command.command("unexplained", short_help="List access that nobody's group explains.")
@_of_tenant
@click.option("--at", type=_time, metavar="TIME", help="At this time; else now.")
@_evidence
def unexplained(
    *,
    named: str | None,
    tenant: str | None,
    at: datetime | None,
    evidence: Evidence,
) -> None:
    """List the roles that managed users hold although neither a group nor a default gives them.

    Example: clickhouse-scim audit unexplained acme
    """
    from app.cli.audits import now  # noqa: PLC0415 - not for --help
    from workers.ledger import questions  # noqa: PLC0415

    of = _one_tenant(evidence.settings, named, tenant)
    rows = evidence.ask(questions.unexplained(of, at or now(), evidence.most))
    columns = ("target", "user", "role", "since")
    empty = "all access is explained"
    evidence.show(rows, columns, empty)


@command.command("leavers", short_help="Tell how long access outlived those who left.")
@_of_tenant
@_period
@click.option("--quarter", type=_quarter, metavar="2026Q4", help="In place of --from and --to.")
@_evidence
def leavers(
    *,
    named: str | None,
    tenant: str | None,
    start: datetime | None,
    end: datetime | None,
    quarter: tuple[datetime, datetime] | None,
    evidence: Evidence,
) -> None:
    """Tell, for everybody who was deactivated or deleted, when each target was without the access.

    With --json: one object {revocations, still_there, p50, p90, p99, longest, leavers}; seconds
    count from the event to the look at the target that found the access gone.

    Example: clickhouse-scim audit leavers acme --quarter 2026Q4
    """
    from app.cli.audits import long_ago, now  # noqa: PLC0415 - not for --help
    from workers.ledger import questions  # noqa: PLC0415

    of = _one_tenant(evidence.settings, named, tenant)
    since, until = quarter or (start or long_ago(), end or now())
    rows = evidence.ask(questions.leavers(of, since, until, evidence.most))
    (total,) = evidence.ask(questions.percentiles(of, since, until))
    if evidence.as_json:
        print_object({**total, "leavers": rows[: evidence.most]})
        return
    columns = ("name", "target", "user", "left_at", "gone_at", "seconds")
    empty = "nobody left"
    evidence.show(rows, columns, empty)
    if rows and not evidence.as_csv:
        print_fields(total, as_json=False)


@command.command("verify", short_help="Check that nobody has changed the events.")
@_of_tenant
@config_option
@json_option
def verify(*, named: str | None, tenant: str | None, config: Path, as_json: bool) -> int:
    """Check the chain of hashes over each tenant's events; exit code 1 if it is broken.

    The last hash is compared with the one in Redis. Keep what is printed elsewhere, too: a chain
    that was made anew as a whole does not have a hash that you wrote down before.

    Example: clickhouse-scim audit verify acme --json
    """
    settings = read_settings(config)
    from app.cli.verifying import verified  # noqa: PLC0415 - not for --help

    chosen = _tenant(settings, named, tenant)
    tenants = list(settings.tenants) if chosen is None else [chosen]
    with counting("checking events") as told:
        results = verified(settings, tenants, told)
    if as_json:
        print_object(results)
    for result in results:
        if not as_json:
            click.echo(
                f"{result['tenant']}: {'holds' if result['ok'] else 'BROKEN'};"
                f" events {result['first_seq']} to {result['last_seq']},"
                f" {result['erased']} erased; last hash {result['hash']}"
            )
        for problem in result["problems"]:
            click.echo(f"{result['tenant']}: seq {problem['seq']}: {problem['reason']}", err=True)
    return 0 if all(result["ok"] for result in results) else 1


@command.command("erase", short_help="Take a person's data out of the ledger.")
@_about("USER")
@yes_option
@config_option
@json_option
def erase(
    *, words: tuple[str, ...], tenant: str | None, yes: bool, config: Path, as_json: bool
) -> int:
    """Take names, documents and addresses of USER out of the ledger; the chain still holds.

    Only of somebody whom the identity provider has deleted: who is there is told again with the
    next change. What is left says that something happened to a resource id, and when. The event log
    in Redis has the data until it is trimmed.

    Example: clickhouse-scim audit erase acme ana@acme.example
    """
    settings = read_settings(config)
    from app.cli import erasing  # noqa: PLC0415 - not for --help
    from app.cli.options import confirmed  # noqa: PLC0415

    of, who = _words(settings, words, tenant)
    found = erasing.find(settings, of, who)
    question = f"Erase {printable(who)} ({len(found.ids)} id, {found.events} events) for good?"
    if not (yes or confirmed(question)):
        click.echo("Nothing is erased.", err=True)
        return 1
    done = erasing.erase(settings, of, found)
    if as_json:
        print_object(done)
    else:
        click.echo(f"Erased: {done['events']} events, {done['statements']} statements.")
    return 0


def _tenant(settings: Settings, named: str | None, tenant: str | None) -> str | None:
    from app.cli.lookup import require_tenant  # noqa: PLC0415 - not for --help

    chosen = named or tenant
    if chosen is not None:
        require_tenant(settings, chosen)
    return chosen


def _one_tenant(settings: Settings, named: str | None, tenant: str | None) -> str:
    chosen = _tenant(settings, named, tenant)
    if chosen is None and len(settings.tenants) == 1:
        chosen = next(iter(settings.tenants))
    if chosen is None:
        context = click.get_current_context(silent=True)
        raise click.UsageError("there is more than one tenant; name one.", context)
    return chosen


def _words(settings: Settings, words: tuple[str, ...], tenant: str | None) -> tuple[str, str]:
    """Return the tenant and what it is about."""
    if len(words) > 2 or (tenant and len(words) > 1):
        context = click.get_current_context(silent=True)
        raise click.UsageError("that is more than one name.", context)
    named = words[0] if len(words) == 2 else None
    return _one_tenant(settings, named, tenant), words[-1]
