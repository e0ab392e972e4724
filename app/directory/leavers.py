"""Leavers of a lane: people whose access was taken, until every server was seen without it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from app.directory.keys import Keys
from app.directory.link import Link


class Leaver(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: on ClickHouse. `seq`: the event that took the access, 0 if none did; `asked_ms`: when
    that was committed, since 1970; `trace`: of its request, as in `Origin`.
    """

    name: str
    resource_id: str
    seq: int
    asked_ms: int
    trace: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Leaver).decode


class Leavers:
    """Of one lane, by name; noted before the first statement is sent, so a crash loses none."""

    def __init__(self, link: Link, tenant: str, target: str) -> None:
        self._link = link
        self._key = Keys(tenant).lane("leavers", target)

    async def note(self, leavers: Sequence[Leaver]) -> None:
        """Add these; who is there already counts from the new event on."""
        if leavers:
            fields = {leaver.name: _encode(leaver) for leaver in leavers}
            await self._link.call(self._link.redis.hset(self._key, mapping=fields))  # type: ignore[arg-type]

    async def waiting(self) -> list[Leaver]:
        found = await self._link.call(self._link.redis.hvals(self._key))  # type: ignore[arg-type]
        return [_decode(raw) for raw in found]

    async def forget(self, names: Collection[str]) -> None:
        """Take these out: they were seen out, or are to have access again."""
        if names:
            await self._link.call(self._link.redis.hdel(self._key, *names))  # type: ignore[arg-type]
