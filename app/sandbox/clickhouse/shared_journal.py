"""The journal of a cluster whose access storage is `replicated`: one file, written by all nodes.

A node changes its engine under the cluster's lock, after it has caught up with what others did, and
appends what it changed. The others follow when the change is as old as the lag says: ClickHouse's
nodes learn of one by a watch in Keeper, later than the node that made it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from app.sandbox.clickhouse.journal import Journal
from app.sandbox.clickhouse.keeper import Keeper


class _Entry(msgspec.Struct, frozen=True):
    """`at`: Unix time at which it was appended."""

    at: float
    text: str


class SharedJournal:
    """`lag_s`: how old a change of another node is when this one follows. One thread at a time."""

    shared = True

    def __init__(self, keeper: Keeper, hosts: Sequence[str], lag_s: Callable[[], float]) -> None:
        self._keeper, self._hosts, self._lag_s = keeper, hosts, lag_s
        self._journal = Journal(keeper.journal)
        self._waiting: deque[_Entry] = deque()  # read and not yet followed

    @property
    def records(self) -> int:
        return self._journal.records

    def open(self) -> list[str]:
        with self._keeper.lock("access"):
            return [_parse(text).text for text in self._journal.open()]

    def due(self) -> list[str]:
        """Return, once, what others appended and is old enough to be followed."""
        self._waiting += map(_parse, self._journal.read_on())
        until = time.time() - self._lag_s()
        due = []
        while self._waiting and self._waiting[0].at <= until:
            due.append(self._waiting.popleft().text)
        return due

    @contextmanager
    def writing(self) -> Iterator[list[str]]:
        """Be the only node that writes; gives what is to be followed before that."""
        with self._keeper.lock("access"):
            self._waiting += map(_parse, self._journal.read_on())
            self._journal.cut()
            behind = [entry.text for entry in self._waiting]
            self._waiting.clear()
            yield behind

    def append(self, text: str) -> None:
        self._journal.append(_render(text))

    def may_be_replaced(self) -> bool:
        """Tell whether this node is alone. The caller holds the lock."""
        return self._keeper.living(self._hosts) == [self._keeper.host]

    def replace(self, texts: Iterable[str]) -> None:
        self._journal.replace(map(_render, texts))

    def close(self) -> None:
        self._journal.close()


def _parse(text: str) -> _Entry:
    return msgspec.json.decode(text, type=_Entry)


def _render(text: str) -> str:
    return msgspec.json.encode(_Entry(time.time(), text)).decode()
