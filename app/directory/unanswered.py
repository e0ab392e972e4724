"""Creations whose client has no answer yet, so that its repeat finds its own write and no 409.

An entry is written by the commit itself and taken away once the answer has been sent: whatever dies
in between, the entry is there. A repeat is told by the digest of the request.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.directory.keys import Keys
from app.directory.link import Link

KEPT_MS = 3_600_000  # how long a client may take to repeat itself


async def forget(link: Link, tenant: str, digests: Sequence[str]) -> None:
    """Note that these requests have been answered."""
    await link.call(link.redis.hdel(Keys(tenant).unanswered, *digests))  # type: ignore[arg-type]


async def is_unanswered(link: Link, tenant: str, digest: str) -> bool:
    found: bool = await link.call(link.redis.hexists(Keys(tenant).unanswered, digest))  # type: ignore[arg-type]
    return bool(found)


async def forget_old(link: Link, tenants: Sequence[str], now_ms: int) -> None:
    """Drop what is older than `KEPT_MS`: nobody repeats that any more."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.hlen(Keys(tenant).unanswered)
    counts = await link.call(pipe.execute()) if tenants else []
    for tenant, count in zip(tenants, counts, strict=True):
        if count:
            await _forget_old(link, tenant, now_ms - KEPT_MS)


async def _forget_old(link: Link, tenant: str, before_ms: int) -> None:
    key, position = Keys(tenant).unanswered, 0
    while True:
        position, entries = await link.call(link.redis.hscan(key, position, count=500))
        old = [
            digest.decode()
            for digest, entry in entries.items()
            if int(entry.split()[1]) < before_ms
        ]
        if old:
            await forget(link, tenant, old)
        if not position:
            return
