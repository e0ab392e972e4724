"""The questions of an audit, put to the ledger; answers are rows for people and programs."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from app.cli.ledgers import require_ledger, told_plainly
from app.cli.output import print_rows
from workers.ledger.questions import Question, holders
from workers.ledger.store import READ_S, Store

if TYPE_CHECKING:
    from app.config.ledger import LedgerSettings
    from app.config.settings import Settings

Rows = list[dict[str, Any]]
_DOCUMENTS = ("before", "after")
_FLAGS = ("is_explained", "erased")


def ask(settings: Settings, question: Question) -> Rows:
    """Return the answer as rows, every value as JSON has it."""
    ledger = require_ledger(settings)
    with told_plainly(ledger):
        return asyncio.run(_asked(ledger, question))


def held_at(
    settings: Settings,
    tenant: str,
    at: datetime,
    *,
    user: str | None,
    role: str | None,
    target: str | None,
) -> Rows:
    """Return who held which role then, in the form of `access show`."""
    found = ask(settings, holders(tenant, at, role=role, user=user, target=target))
    return [
        {
            "tenant": tenant,
            "target": row["target"],
            "user": row["user"],
            "user_name": None,
            "resource_id": row["resource_id"] or None,
            "state": "active",
            "until": None,
            "door": "open",
            "role": row["role"],
            "wanted": row["is_explained"],
            "held": True,
            "because": [],
            "since": row["since"],
        }
        for row in found
    ]


async def _asked(ledger: LedgerSettings, question: Question) -> Rows:
    store = Store(ledger, seconds=READ_S)
    try:
        found = await store.query(question.sql)
    finally:
        await store.close()
    return [
        {name: plain(name, value) for name, value in zip(question.columns, row, strict=True)}
        for row in found
    ]


def plain(name: str, value: Any) -> Any:
    """Return a value of the ledger as JSON has it: times in RFC 3339, documents as objects."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, tuple | list):
        return [plain(name, one) for one in value]
    if name in _DOCUMENTS:
        return json.loads(value) if value else None
    if name in _FLAGS:
        return bool(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def show(
    rows: Rows,
    columns: Sequence[str],
    *,
    most: int,
    as_json: bool,
    as_csv: bool,
    empty: str,
) -> None:
    """Print at most `most` rows; say so on stderr where there are more."""
    shown = rows[:most]
    if as_csv:
        print_csv(shown)
    else:
        print_rows(shown, columns, as_json=as_json, empty=empty)
    if len(rows) > most:
        click.echo(f"these are the first {most}; narrow it, or add --limit", err=True)


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print every column of the rows; lists and documents as JSON."""
    if not rows:
        return
    writer = csv.writer(sys.stdout)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    # A cell that begins so is a formula to a spreadsheet, and names come from outside.
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")):
        return f"'{value}"
    return "" if value is None else value


def parse_time(text: str) -> datetime:
    """Return `2026-11-24`, `2026-11-24T09:30:00Z` or seconds since 1970 as a time."""
    try:
        found = datetime.fromtimestamp(float(text), UTC) if text.isdigit() else None
        found = found or datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r} is no time; write 2026-11-24 or 2026-11-24T09:30:00Z."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_quarter(text: str) -> tuple[datetime, datetime]:
    """Return the begin and the end of `2026Q4`."""
    year, _, number = text.upper().partition("Q")
    if not (year.isdigit() and len(year) == 4 and number in {"1", "2", "3", "4"}):
        raise click.BadParameter(f"{text!r} is no quarter; write 2026Q4.")
    first = 3 * int(number) - 2
    start = datetime(int(year), first, 1, tzinfo=UTC)
    end = (start + timedelta(days=100)).replace(day=1)
    return start, end


def now() -> datetime:
    return datetime.now(UTC)


def long_ago() -> datetime:
    return datetime(1970, 1, 2, tzinfo=UTC)
