"""Noting beside the requests when providers were heard of, and whether their writes are done."""

from __future__ import annotations

import structlog

from app.clock import Clock
from app.directory.activity import Window, note_activity
from app.directory.link import Link
from app.directory.shards import Shards
from app.http.flushing import flush_often

log = structlog.get_logger()


class ActivityLog:
    """What came during the last seconds, by tenant; no request waits for it, or fails by it."""

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards, self._clock = shards, clock
        self._windows: dict[str, Window] = {}

    def note(self, tenant: str, *, write: bool, refused: bool) -> None:
        """Count one request of an authenticated provider."""
        now_ms = self._clock.now_ms()
        window = self._windows.get(tenant)
        if window is None:
            window = self._windows[tenant] = Window(now_ms, now_ms)
        window.note(now_ms, write=write, refused=refused)

    async def flush(self) -> None:
        """Write what was noted. What Redis did not take is dropped: the next request tells more."""
        windows, self._windows = self._windows, {}

        async def write(link: Link, tenant: str) -> None:
            await note_activity(link, tenant, windows[tenant])

        if lost := await self._shards.each(windows, write):
            log.warning("activity.lost", tenants=len(lost))

    async def run(self) -> None:
        """Flush every few seconds until cancelled, and then once more."""
        await flush_often(self.flush, lambda: log.warning("activity.lost"))
