"""What the demo prints: headings, facts that were read, checks that hold or don't."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from app.sandbox.player import Progress

_WIDTH = 110

NEXT = (
    ("{program} sandbox", "the same, for your own requests: prints base URL and token"),
    ("{program} --help", "every command"),
    ("make test", "the whole suite, on this machine"),
)


class Teller:
    """Writes to one console and keeps the checks that failed. Colours only on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = _WIDTH
        self.failed: list[str] = []
        self.held = 0
        self._scenes = 0

    def title(self, text: str, below: str) -> None:
        self._console.print(Text(text, style="bold"))
        self._console.print(Text(below, style="dim"))

    def scene(self, text: str) -> None:
        self._scenes += 1
        self._console.print()
        heading = Text(f"{self._scenes}  {text}", style="bold cyan")
        self._console.print(Rule(heading, align="left", style="cyan"))

    def say(self, text: str) -> None:
        """Tell what is being done; facts go through `fact` and `check`."""
        self._print(Text(text), 2)

    def fact(self, name: str, value: object) -> None:
        """Print something that was read."""
        self._print(Text.assemble((f"{name:<14}", "dim"), str(value)), 2)

    def quote(self, text: str) -> None:
        """Print what a server answered."""
        self._print(Text(text, style="yellow"), 6)

    def check(self, holds: bool, text: str, otherwise: str = "") -> None:
        """Print a claim with whether it holds; `otherwise`: what was seen where it doesn't."""
        mark = ("✓ ", "bold green") if holds else ("✗ ", "bold red")
        self._print(Text.assemble(mark, text), 2)
        if holds:
            self.held += 1
            return
        self.failed.append(text)
        if otherwise:
            self._print(Text(otherwise, style="red"), 6)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            numeric = bool(rows) and all(isinstance(row[number], int) for row in rows)
            table.add_column(
                column,
                justify="right" if numeric else "left",
                overflow="fold",
                no_wrap=number == 0,  # what the row is about stays in one piece
            )
        for row in rows:
            table.add_row(*(Text(str(value)) for value in row))
        self._console.print(Padding(table, (0, 0, 0, 4)))

    def end(self, seconds: float) -> int:
        """Print the sum and what to do next; return the exit code."""
        self._console.print()
        if self.failed:
            text = f"{len(self.failed)} checks failed, {self.held} held, after {seconds:.1f} s."
            self._print(Text(text, style="bold red"), 0)
            for claim in self.failed:
                self._print(Text(f"failed: {claim}", style="red"), 2)
            return 1
        self._print(Text(f"{self.held} checks held, in {seconds:.1f} s.", style="bold green"), 0)
        self._console.print()
        commands = [(command.format(program=_program()), what) for command, what in NEXT]
        width = max(len(command) for command, _ in commands) + 2
        for command, what in commands:
            self._print(Text.assemble((command.ljust(width), "bold"), what), 2)
        return 0

    @contextmanager
    def progress(self) -> Iterator[Callable[[Progress], None]]:
        """Show how far a story is while it is played, on a terminal; leaves nothing behind."""
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn())
        quiet = not self._console.is_terminal
        with Bar(*columns, console=self._console, transient=True, disable=quiet) as bar:
            task = bar.add_task("", total=None)

            def show(progress: Progress) -> None:
                bar.update(
                    task,
                    description=progress.step,
                    completed=progress.done,
                    total=progress.total,
                )

            yield show

    def _print(self, text: Text, indent: int) -> None:
        if self._console.is_terminal:
            self._console.print(Padding(text, (0, 0, 0, indent)))
            return
        for line in text.split("\n"):  # in a file they are searched, and not broken
            self._console.print(Text(" " * indent) + line, soft_wrap=True)


def _program() -> str:
    """Return how this program is called from here: by its name, or out of its .venv."""
    name = "clickhouse-scim"
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) is not None or not beside.exists():
        return name
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)
