"""Refusing what is too much, while there is still time to say so; revocations last.

A refusal is an answer that identity providers come back from within the time it names; a time-out,
or a 500, is not: after one Entra tries again hours later.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from dataclasses import dataclass, field

import structlog

from app.clock import Clock
from app.config.settings import Limits, Settings
from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable, TooManyRequests, Unavailable

MEMORY_LOOK_S = 1.0
TAKEN_S = 0.1  # of a tenant's rate are fetched from Redis at once
_FULL_RETRY_S = 30
_BUSY_RETRY_S = 1

# What takes access away, as identity providers write it; a little too much is no harm here.
_REVOKES = re.compile(
    rb'"op"\s*:\s*"remove"|"active"\s*:\s*"?false|"value"\s*:\s*"?false', re.IGNORECASE
)

_MEMBER = re.compile(rb'"value"\s*:\s*"([^"\\]+)"', re.IGNORECASE)

log = structlog.get_logger()


def revokes(method: str, body: bytes) -> bool:
    """Whether a request takes access away: those go on where others are refused."""
    return method == "DELETE" or (method in {"PATCH", "PUT"} and _REVOKES.search(body) is not None)


def members_named(body: bytes) -> list[str]:
    """Return the ids of members that the body of a group names; of other bodies any texts."""
    return [i.decode("utf-8", "replace") for i in dict.fromkeys(_MEMBER.findall(body))]


@dataclass(slots=True)
class _Share:
    """What one process holds of a tenant's bucket until `until`; what is left then is lost."""

    left: int = 0
    until: float = 0.0


@dataclass(slots=True)
class Pressure:
    """Of one receiver process; the rates of tenants are those of all processes together.

    `memory`: how much of what it may use each Redis uses, 0 for one that is away.
    """

    shards: Shards
    clock: Clock
    memory: dict[Link, float] = field(default_factory=dict)
    _open: int = 0
    _of_tenant: Counter[str] = field(default_factory=Counter)
    _shares: dict[str, _Share] = field(default_factory=dict)

    def entered(self, tenant: str, limits: Limits) -> Entered:
        """Count a request for as long as it takes. Raises TooManyRequests if there is no room."""
        return Entered(self, tenant, limits)

    def enter(self, tenant: str, limits: Limits) -> None:
        if self._open >= limits.max_in_flight:
            raise TooManyRequests("too many requests at the same time", _BUSY_RETRY_S)
        self._open += 1
        self._of_tenant[tenant] += 1

    def leave(self, tenant: str) -> None:
        self._open -= 1
        self._of_tenant[tenant] -= 1
        if not self._of_tenant[tenant]:
            del self._of_tenant[tenant]

    async def admit(self, tenant: str, settings: Settings, *, revoking: bool, reads: bool) -> None:
        """Return if the request may go on. Raises TooManyRequests, Unavailable.

        A quarter of the room is for revocations, and no tenant gets more than half for anything
        else; they may overdraw their tenant's bucket by what it holds; and they go on while Redis
        has any memory.
        """
        limits = settings.limits
        if not revoking:
            if self._open > limits.max_in_flight * 3 // 4:
                raise TooManyRequests("too many requests at the same time", _BUSY_RETRY_S)
            if self._of_tenant[tenant] > max(1, limits.max_in_flight // 2):
                raise TooManyRequests("too many requests of this tenant at once", _BUSY_RETRY_S)
            if not reads and self._used(tenant) >= settings.redis.max_memory_share:
                raise Unavailable("the directory is nearly full", _FULL_RETRY_S)
        if limits.requests_per_second:
            await self._take(tenant, limits, revoking=revoking)

    def _used(self, tenant: str) -> float:
        return self.memory.get(self.shards.of(tenant), 0.0)

    async def _take(self, tenant: str, limits: Limits, *, revoking: bool) -> None:
        rate = limits.requests_per_second
        share = self._shares.setdefault(tenant, _Share())
        now = self.clock.monotonic()
        if share.left and now < share.until:
            share.left -= 1
            return
        wanted = 1 if revoking else max(1, int(rate * TAKEN_S))
        taken, wait_ms = await self.shards.of(tenant).scripts.run(
            "bucket",
            Keys(tenant).seq,
            rate,
            limits.burst,
            wanted,
            -limits.burst if revoking else 0,
        )
        if not taken:
            raise TooManyRequests(
                "this tenant sends more requests than it may", math.ceil(wait_ms / 1000)
            )
        share.left, share.until = taken - 1, now + 1.0

    async def watch_memory(self, link: Link) -> None:
        """Look how full a Redis is, again and again, until cancelled; of a cluster its fullest
        node counts. One task owns this.
        """
        was_full = False
        while True:
            try:
                self.memory[link] = await _used(link)
            except DirectoryUnavailable:
                self.memory[link] = 0.0  # requests find that out themselves
            is_full = self.memory[link] >= 1.0
            if is_full and not was_full:
                log.error("redis.full", redis=link.name)
            was_full = is_full
            await asyncio.sleep(MEMORY_LOOK_S)


async def _used(link: Link) -> float:
    primaries = [one.redis for one in await link.servers() if one.is_primary]
    return max([_share(await link.call(redis.info("memory"))) for redis in primaries], default=0.0)


class Entered:
    """A request in a `with`: counted until it ends."""

    __slots__ = ("_limits", "_pressure", "_tenant")

    def __init__(self, pressure: Pressure, tenant: str, limits: Limits) -> None:
        self._pressure, self._tenant, self._limits = pressure, tenant, limits

    def __enter__(self) -> None:
        self._pressure.enter(self._tenant, self._limits)

    def __exit__(self, *_: object) -> None:
        self._pressure.leave(self._tenant)


def _share(memory: dict[str, int]) -> float:
    """Return how much of what it may use Redis uses; 0 where it has no bound of its own."""
    most = int(memory.get("maxmemory", 0))
    return int(memory["used_memory"]) / most if most else 0.0
