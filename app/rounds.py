"""Whom to look at now, where looking at everybody each time would be too much."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Rounds(Generic[T]):
    """Turns, each of which looks at the lively ones and at some of the others, who take turns.

    So a turn costs the same however many there are that nothing happens to.
    """

    def __init__(self) -> None:
        self._next = 0

    def turn(self, everybody: Sequence[T], lively: Collection[T], most: int) -> list[T]:
        """Return whom to look at, nobody twice: all, or the lively ones and the next `most`."""
        if len(everybody) <= most:
            return list(everybody)
        start = self._next % len(everybody)
        part = [*everybody[start : start + most]]
        part += everybody[: most - len(part)]
        self._next = start + most
        return list(dict.fromkeys([*lively, *part]))
