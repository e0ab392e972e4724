"""Counting quirks beside the requests that hold them: no request waits for it, or fails by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import structlog

from app.clock import Clock
from app.directory.link import Link
from app.directory.quirks import QuirkLog
from app.directory.shards import Shards
from app.http.flushing import flush_often
from app.scim.quirks import Quirk

log = structlog.get_logger()


class QuirkCounter:
    """The quirks of the last seconds, by tenant; few figures, however many requests there are.

    What was counted and not written when the process dies is lost: figures for a report.
    """

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards, self._clock = shards, clock
        self._seen: dict[str, Counter[Quirk]] = {}

    def note(self, tenant: str, quirks: Iterable[Quirk]) -> None:
        """Count each of these once: they are those of one request."""
        for quirk in quirks:
            self._seen.setdefault(tenant, Counter())[quirk] += 1

    async def flush(self) -> None:
        """Write what was counted. Where Redis is away it is kept for the next time."""
        seen, self._seen = self._seen, {}

        async def write(link: Link, tenant: str) -> None:
            await QuirkLog(link, tenant).add(seen[tenant], self._clock.now_ms())

        for tenant in await self._shards.each(seen, write):
            self._seen.setdefault(tenant, Counter()).update(seen[tenant])

    async def run(self) -> None:
        """Flush every few seconds until cancelled, and then once more."""
        await flush_often(self.flush, lambda: log.warning("quirks.lost", tenants=len(self._seen)))
