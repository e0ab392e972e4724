"""When tokens were last used: noted beside the requests, written now and then."""

from __future__ import annotations

import structlog

from app.clock import Clock
from app.directory.link import Link
from app.directory.shards import Shards
from app.directory.tokens import note_uses
from app.http.flushing import flush_often

log = structlog.get_logger()


class TokenUses:
    """The uses of the last seconds. What is not written when the process dies is lost: a use is
    some seconds older then.
    """

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards, self._clock = shards, clock
        self._seen: dict[str, dict[str, int]] = {}

    def note(self, tenant: str, token_id: str) -> None:
        self._seen.setdefault(tenant, {})[token_id] = self._clock.now_ms()

    async def flush(self) -> None:
        """Write what was noted. Where Redis is away it is kept for the next time."""
        seen, self._seen = self._seen, {}

        async def write(link: Link, tenant: str) -> None:
            await note_uses(link, tenant, seen[tenant])

        for tenant in await self._shards.each(seen, write):
            self._seen[tenant] = seen[tenant] | self._seen.get(tenant, {})

    async def run(self) -> None:
        """Flush every few seconds until cancelled, and then once more."""
        await flush_often(
            self.flush, lambda: log.warning("token_uses.lost", tenants=len(self._seen))
        )
