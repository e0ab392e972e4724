"""Large changes of a group's members: put down in steps beside them, then true in one moment.

Redis answers others between two steps, and nobody sees a part: `members:GROUP` says who is a
member, and it is replaced by one RENAME in the commit. See docs/adr/0013.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.record import encode
from app.errors import DirectoryUnavailable, Unavailable

LARGE = 1000  # a change of more members is staged (`large` in lua/_log.lua)
LEASE_MS = 10_000
WAIT_S = 0.02
PATIENCE_S = 15.0
_STEP = 250  # ids in one call: a few ms of Redis


class StageLost(Exception):
    """Somebody else has cleaned the stage up, since nothing was heard of it for `LEASE_MS`."""


async def settle(link: Link, keys: Keys, group_id: str, *, give_up: str = "") -> None:
    """Clean up behind a large change that is done, or whose writer is gone.

    `give_up`: the token of a stage that is not to become true any more.
    """
    while await link.scripts.run("settle", keys.seq, group_id, _STEP, give_up):
        pass


async def unsettled(link: Link, tenants: Sequence[str]) -> list[tuple[str, str]]:
    """Return (tenant, group id) of the large changes that are under way or not cleaned up yet."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.hkeys(Keys(tenant).unsettled)
    found = await link.call(pipe.execute()) if tenants else []
    return [
        (tenant, group.decode())
        for tenant, groups in zip(tenants, found, strict=True)
        for group in groups
    ]


class Stage:
    """What a group's members are to be. `score`: of those who come, until `settle` knows better."""

    def __init__(self, link: Link, keys: Keys, group_id: str) -> None:
        self._link, self._keys, self._group = link, keys, group_id
        self._put: dict[str, float] = {}
        self.token = uuid.uuid4().hex
        self.score = 0.0

    async def begin(self) -> None:
        """Wait for another large change of the group to end. Raises Unavailable if it does not."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    code, *rest = await self._run("stage_begin", LEASE_MS)
                    if code == b"ok":
                        self.score = int(rest[0]) + 0.5
                        return
                    if code == b"unsettled":
                        await settle(self._link, self._keys, self._group)
                    else:
                        await asyncio.sleep(WAIT_S)
        except TimeoutError:
            raise too_busy() from None

    async def bring_to(
        self, members: Iterable[str], scores: Mapping[str, float], *, hold: bool
    ) -> None:
        """Put down that these are the members. `scores`: of those who are members by now.

        `hold`: from the first step on other changes of the group wait. Raises StageLost.
        """
        wanted, put, drop = await asyncio.to_thread(self._to_do, members, scores)
        if hold and not put and not drop:
            await self._step((), (), scores, hold=True)
        for start in range(0, len(put), _STEP):
            await self._step(put[start : start + _STEP], (), scores, hold=hold)
        for start in range(0, len(drop), _STEP):
            await self._step((), drop[start : start + _STEP], scores, hold=hold)
        self._put = wanted

    def _to_do(
        self, members: Iterable[str], scores: Mapping[str, float]
    ) -> tuple[dict[str, float], list[str], list[str]]:
        """Return what is to be staged, and what of it is not yet, or not any more."""
        wanted = {i: scores.get(i, self.score) for i in members}
        put = [i for i, score in wanted.items() if self._put.get(i) != score]
        return wanted, put, [i for i in self._put if i not in wanted]

    async def _step(
        self, put: Sequence[str], drop: Sequence[str], scores: Mapping[str, float], *, hold: bool
    ) -> None:
        part = {
            "put": [value for i in put for value in (i, scores.get(i, self.score))],
            "new": [i for i in put if i not in scores],
            "drop": list(drop),
        }
        if not await self._run("stage_step", LEASE_MS, "1" if hold else "0", encode(part)):
            raise StageLost

    async def _run(self, script: str, *args: str | bytes | int) -> Any:
        return await self._link.scripts.run(script, self._keys.seq, self._group, self.token, *args)

    async def end(self) -> None:
        """Clean up. Where Redis is away, `housekeeping` does it later."""
        with suppress(DirectoryUnavailable):
            await settle(self._link, self._keys, self._group, give_up=self.token)


def too_busy() -> Unavailable:
    return Unavailable("too many changes of this resource at the same time", retry_after_s=1)
