"""A load generator that costs little beside what it drives: raw HTTP/1.1 over kept connections."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(slots=True)
class Load:
    """What came back. `taken_s`: of each request, from its first byte to its answer's last."""

    taken_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    answer_bytes: int = 0
    duration_s: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.taken_s) / self.duration_s


def request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    """Return the bytes of one request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is whole."""

    def __init__(self, requests: Iterator[bytes], until: float, load: Load) -> None:
        self._requests, self._until, self._load = requests, until, load
        self._buffer = b""
        self._expected = -1
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a TCP connection can write")
        self._transport = transport
        self._next(time.perf_counter())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._expected < 0:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            length = _LENGTH.search(self._buffer, 0, head)
            self._expected = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) < self._expected:
            return
        now, load = time.perf_counter(), self._load
        load.taken_s.append(now - self._sent)
        load.statuses[int(self._buffer[9:12])] += 1
        load.answer_bytes = self._expected
        self._buffer, self._expected = b"", -1
        self._next(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        self.done.set_exception(exc or ConnectionError("the server closed the connection"))

    def _next(self, now: float) -> None:
        wanted = next(self._requests, None) if now < self._until else None
        if self._transport is None or wanted is None:
            if not self.done.done():
                self.done.set_result(None)
            if self._transport is not None:
                self._transport.close()
            return
        self._sent = now
        self._transport.write(wanted)


async def drive(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Load:
    """Send `requests` for `seconds` over so many connections at once, or until there are no more.

    Raises OSError when a connection is refused or breaks.
    """
    load, started = Load(), time.perf_counter()
    loop = asyncio.get_running_loop()

    def connection() -> _Connection:
        return _Connection(requests, started + seconds, load)

    made = [await loop.create_connection(connection, "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    load.duration_s = time.perf_counter() - started
    return load
