"""Which Redis has which tenant: one has all, of several each has its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import structlog

from app.config.redis import RedisSettings
from app.directory.link import Link, connect
from app.directory.scripts import Timed, untimed
from app.errors import DirectoryUnavailable

log = structlog.get_logger()


def place(tenant: str, names: Sequence[str]) -> str:
    """Return which of `names` the tenant belongs to, in whatever order they are given.

    Rendezvous hashing: the name with the highest weight for this tenant. A name that is added takes
    its share from all others, and nobody moves between those; one that is taken away gives its
    tenants to all others, and nobody else moves.
    """
    return max(names, key=lambda name: (_weight(tenant, name), name))


def _weight(tenant: str, name: str) -> bytes:
    return blake2b(f"{tenant}\0{name}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Shards:
    """The links of an installation. Built by `connect_all`, closed by its owner."""

    links: Mapping[str, Link]
    _known: dict[str, Link] = field(default_factory=dict)

    def of(self, tenant: str) -> Link:
        """Return where the tenant lies."""
        link = self._known.get(tenant)
        if link is None:
            link = self._known[tenant] = self.links[place(tenant, list(self.links))]
        return link

    def on(self, link: Link, tenants: Iterable[str]) -> list[str]:
        """Return those of `tenants` that lie there."""
        return [tenant for tenant in tenants if self.of(tenant) is link]

    def by_link(self, tenants: Iterable[str]) -> dict[Link, list[str]]:
        """Return which of `tenants` lie where, every link with at least one of them."""
        found: dict[Link, list[str]] = {}
        for tenant in tenants:
            found.setdefault(self.of(tenant), []).append(tenant)
        return found

    async def each(
        self, tenants: Iterable[str], work: Callable[[Link, str], Awaitable[None]]
    ) -> list[str]:
        """Do `work` for one tenant after the other, on all links at the same time.

        Return the tenants of whom it was not done, since their Redis was away.
        """
        left: list[str] = []

        async def on(link: Link, names: list[str]) -> None:
            for at, name in enumerate(names):
                try:
                    await work(link, name)
                except DirectoryUnavailable as error:
                    log.warning("redis.awaited", redis=link.name, error=str(error))
                    left.extend(names[at:])
                    return

        async with asyncio.TaskGroup() as tasks:
            for link, names in self.by_link(tenants).items():
                tasks.create_task(on(link, names), name=f"work on {link.name}")
        return left

    async def close(self) -> None:
        for link in self.links.values():
            await link.close()


def connect_all(settings: RedisSettings, *, timed: Timed = untimed) -> Shards:
    """Return the links of `[redis]`; they connect on first use. `timed` as in `connect`."""
    links = [
        connect(
            url,
            settings.secret(),
            sentinel_password=settings.sentinel.secret() if settings.sentinel else None,
            timed=timed,
            wait_replicas=settings.wait_replicas,
        )
        for url in settings.places
    ]
    return Shards({link.name: link for link in links})


def alone(link: Link) -> Shards:
    """Return an installation of one link."""
    return Shards({link.name: link})
