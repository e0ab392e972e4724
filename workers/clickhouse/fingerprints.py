"""What tells cheaply that a target holds of its tenants what it held before."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection

from app.clock import Clock
from workers.access.statements import fingerprints_query
from workers.access.statements.rendering import chunks
from workers.clickhouse.pool import Pool

_SHARE = 20  # a reading serves other tenants for so many times as long as it took
_MARKERS_BYTES = 200_000  # of a query, which may have 262,144

NOBODY = "0:0"


class Fingerprints:
    """Of one target: one reading for all tenants, whose looks are spread over minutes.

    So the target is read for at most a twentieth of the time, however many tenants it has.
    """

    def __init__(self, pool: Pool, markers: Collection[str], clock: Clock) -> None:
        self._pool, self._markers, self._clock = pool, sorted(markers), clock
        self._read: dict[str, str] = {}
        self._until = -math.inf
        self._one_at_a_time = asyncio.Lock()

    async def of(self, marker: str) -> str:
        """Return a text that differs where anything of the tenant with this marker differs on the
        target. A tenant that asks again gets a new reading.

        Raises TargetError.
        """
        async with self._one_at_a_time:
            if marker not in self._read or self._clock.monotonic() >= self._until:
                await self._read_all()
            return self._read.pop(marker, NOBODY)

    async def _read_all(self) -> None:
        began, found = self._clock.monotonic(), dict.fromkeys(self._markers, NOBODY)
        async with self._pool.session() as session:
            for some in chunks(self._markers, _MARKERS_BYTES, len(self._markers)):
                found |= dict(await session.query(fingerprints_query(some)))
        ended = self._clock.monotonic()
        self._read, self._until = found, ended + _SHARE * (ended - began)
