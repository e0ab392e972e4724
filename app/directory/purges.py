"""When users of deleted resources, which are locked until then, are dropped for good."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from app.directory.keys import Keys
from app.directory.link import Link


class Purges:
    """Of one lane, by resource id; times in ms since 1970."""

    def __init__(self, link: Link, tenant: str, target: str) -> None:
        self._link = link
        self._key = Keys(tenant).lane("purges", target)

    async def due(self, ids: Sequence[str], at_ms: int) -> dict[str, int]:
        """Return when each is due: `at_ms`, unless it was noted before."""
        if not ids:
            return {}
        pipe = self._link.redis.pipeline(transaction=True)
        for i in ids:
            pipe.hsetnx(self._key, i, str(at_ms))
        pipe.hmget(self._key, list(ids))
        found = (await self._link.call(pipe.execute()))[-1]
        return {i: int(due) for i, due in zip(ids, found, strict=True)}

    async def noted(self, resource_id: str) -> int | None:
        due = await self._link.call(self._link.redis.hget(self._key, resource_id))  # type: ignore[arg-type]
        return None if due is None else int(due)

    async def forget(self, ids: Collection[str]) -> None:
        if ids:
            await self._link.call(self._link.redis.hdel(self._key, *ids))  # type: ignore[arg-type]
