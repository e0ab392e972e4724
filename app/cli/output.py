"""What commands print on stdout: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str
) -> None:
    """Print one JSON array of objects, or a table of `columns`; `empty` where there is no row, but
    for "": where the reason is on stderr.

    Values reach the terminal escaped: names come from an identity provider, and a name must not
    move the cursor of the person who reads it.
    """
    if as_json:
        print_object(rows)
    elif not rows:
        if empty:
            click.echo(empty)
    else:
        _print_table(rows, columns)


def print_object(value: object) -> None:
    """Print one line of JSON and nothing else."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing: one JSON object, or a line for each field."""
    if as_json:
        print_object(fields)
        return
    width = max(map(len, fields))
    for name, value in fields.items():
        click.echo(f"{name:<{width}}  {printable(value)}".rstrip())


def iso(ms: int | None) -> str | None:
    """Return ms since 1970 as `2026-01-31T09:30:00.000Z`, None for None."""
    from app.scim.present import timestamp  # noqa: PLC0415 - --help needs none of it

    return None if ms is None else timestamp(ms)


def printable(value: object) -> str:
    """Return `value` for a terminal: control characters escaped, None as nothing, True as yes."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(printable, value))
    text = str(value)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box  # noqa: PLC0415 - JSON and --help need none of it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(row.get(column))) for column in columns))
    # In a pipe nobody wants lines cut at 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=100_000)
    console.print(table)
