"""How far a command is, on stderr, where a person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show `what` and a number that grows; yield what is called with it."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks

    with Console(stderr=True).status(what) as status:
        yield lambda number: status.update(f"{what}: {number}")
