"""Notices that a client cancels or leaves while its thread is busy in the engine.

    with watch.over(wire, thread):
        …                              # a call into the engine, on `thread`

A thread that is inside the engine cannot read. So one thread looks after the sockets of all that
are, and has the query killed when there is no use in it any more.
"""

from __future__ import annotations

import logging
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.sandbox.clickhouse.faults import Disconnected
from app.sandbox.clickhouse.wire import FromClient, Wire

log = logging.getLogger(__name__)

_SPEAKS = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_BETWEEN_KILLS_S = 0.05


class Cancelled(Exception):
    """The client no longer wants the rest; the connection goes on."""


@dataclass(slots=True, eq=False)
class _Busy:
    """`lock`: who holds it may use `wire`, and knows whether the call is over."""

    wire: Wire
    thread: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False
    verdict: Cancelled | Disconnected | None = None


class Watch:
    """`kill` stops what runs on a thread; it may come before there is anything to stop."""

    def __init__(self, kill: Callable[[int], None]) -> None:
        self._kill = kill
        self._epoll = select.epoll()
        self._busy: dict[int, _Busy] = {}  # by the socket's descriptor
        threading.Thread(target=self._look_after, name="watch", daemon=True).start()

    @contextmanager
    def over(self, wire: Wire, thread: int) -> Iterator[None]:
        """Watch a client during a call. Raises Cancelled or Disconnected in the call's place."""
        if wire.next_byte() == FromClient.CANCEL:
            raise Cancelled
        busy, file = _Busy(wire, thread), wire.file
        self._busy[file] = busy
        self._epoll.register(file, _SPEAKS)
        try:
            yield
        finally:
            self._epoll.unregister(file)
            with busy.lock:
                busy.over = True
            del self._busy[file]
            if busy.verdict is not None:
                raise busy.verdict

    def _look_after(self) -> None:
        doomed: list[_Busy] = []
        while True:
            for file, _ in self._epoll.poll(_BETWEEN_KILLS_S if doomed else None):
                busy = self._busy.get(file)
                if busy is not None and self._has_no_use(busy, file):
                    doomed.append(busy)
            doomed = [busy for busy in doomed if self._still_runs(busy)]

    def _has_no_use(self, busy: _Busy, file: int) -> bool:
        """Tell whether the client wants no answer. What else it says is for its own thread."""
        with busy.lock:
            if busy.over:
                return False
            try:
                word = busy.wire.look()
            except Disconnected as gone:
                busy.verdict = gone
            else:
                if word == FromClient.CANCEL:
                    busy.verdict = Cancelled()
                elif word is None:  # of TLS, and not yet a whole record
                    self._epoll.modify(file, _SPEAKS)
            return busy.verdict is not None

    def _still_runs(self, busy: _Busy) -> bool:
        """Kill it. The lock keeps the thread from going on to its next query meanwhile."""
        with busy.lock:
            if not busy.over:
                try:
                    self._kill(busy.thread)
                except Exception:
                    log.exception("kill.failed")
            return not busy.over
