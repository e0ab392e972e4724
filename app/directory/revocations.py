"""For how long access that should be gone is still there: what waits, and what a target refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from app.directory.events import read
from app.directory.keys import Keys
from app.directory.lanes import LaneStatus, LaneStore
from app.directory.link import Link


async def with_revocations(link: Link, lanes: Iterable[LaneStatus]) -> list[LaneStatus]:
    """Return these lanes with `revocation_since_ms`. Asks for those that are behind or have dead
    letters, and for no others.
    """
    lanes = list(lanes)
    since = await asyncio.gather(*(_since(link, lane) for lane in lanes))
    return [replace(one, revocation_since_ms=ms) for one, ms in zip(lanes, since, strict=True)]


async def _since(link: Link, lane: LaneStatus) -> int | None:
    waiting, failed = await asyncio.gather(waiting_since(link, lane), failed_since(link, lane))
    return min((ms for ms in (waiting, failed) if ms is not None), default=None)


async def waiting_since(link: Link, lane: LaneStatus) -> int | None:
    """Return since when (ms) the oldest revocation waits for the lane to come to it."""
    if lane.applied_seq >= lane.last_seq:
        return None
    seq = await LaneStore(link, lane.tenant, lane.target).oldest_revocation()
    events = await read(link, Keys(lane.tenant), seq - 1, 1) if seq is not None else []
    return events[0].at_ms if events else None


async def failed_since(link: Link, lane: LaneStatus) -> int | None:
    """Return since when (ms) the oldest revocation is a dead letter of the lane."""
    if not lane.dead_letters:
        return None
    letters = (await LaneStore(link, lane.tenant, lane.target).letters()).values()
    return min((one.first_ms for one in letters if one.revocation), default=None)
