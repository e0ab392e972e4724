"""Who is in a group, read in steps however many they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.record import parse_stored

CHUNK = 2000  # ids in one call: about 1 ms of Redis
_TRIES = 5
_PAUSE_S = 0.02  # after the first try; each is twice as long as the one before

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Members:
    """A group's members at one moment, longest-standing first, each with the score of its entry.

    `version`: the group's, members included; None if there is no such group.
    """

    version: int | None
    scores: Mapping[str, float]


def chunks(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), CHUNK):
        yield whole[start : start + CHUNK]


async def read_members(link: Link, keys: Keys, group_id: str) -> Members:
    """Return the members. A group that changes all the time is read in one call at last."""
    for attempt in range(_TRIES):
        moment, scores = await _part(link, keys, group_id, 0, CHUNK)
        more = len(scores) == CHUNK
        while more:
            now, part = await _part(link, keys, group_id, len(scores), CHUNK)
            scores |= part
            more = now == moment and len(part) == CHUNK
            if now != moment:
                break
        else:
            return Members(moment.version, scores)
        await asyncio.sleep(_PAUSE_S * 2**attempt)
    moment, scores = await _part(link, keys, group_id, 0, 0)
    return Members(moment.version, scores)


@dataclass(frozen=True, slots=True)
class _Moment:
    """What changes with a group's members, and with their order (`settle`)."""

    version: int | None
    settling: bytes | None


async def _part(
    link: Link, keys: Keys, group_id: str, start: int, count: int
) -> tuple[_Moment, dict[str, float]]:
    """Return the moment, and `count` members from `start` on (0: all of them)."""
    pipe = link.redis.pipeline(transaction=True)
    pipe.get(keys.resource("group", group_id))
    pipe.zrange(keys.members(group_id), start, start + count - 1, withscores=True)
    pipe.hget(keys.unsettled, group_id)
    raw, rows, unsettled = await link.call(pipe.execute())
    version = parse_stored(group_id, raw).version if raw else None
    settling = unsettled if unsettled and unsettled.startswith(b" ") else None  # no token
    return _Moment(version, settling), {i.decode(): score for i, score in rows}
