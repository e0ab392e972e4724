"""A directory of a tenant that nobody else has, in a real Redis."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from app.directory.directory import Directory
from app.directory.events import Event, read
from app.directory.keys import Keys
from app.directory.link import Link, connect

if TYPE_CHECKING:
    from tests.conftest import RedisServer


@dataclass(frozen=True, slots=True)
class Tenant:
    """`directory` marks the lanes `main` and `second`."""

    name: str
    link: Link
    directory: Directory
    keys: Keys

    async def events(self, after: int = 0) -> list[Event]:
        return await read(self.link, self.keys, after, 1000)

    async def everything(self) -> dict[str, bytes]:
        """Return every key of the tenant with its value, as one may compare it."""
        redis = self.link.redis
        names = sorted(
            [key async for key in redis.scan_iter(match=f"{self.keys.prefix}*", count=20_000)]
        )
        return {name.decode(): await redis.dump(name) for name in names}


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    link = connect(redis_server.url)
    yield link
    await link.close()


@pytest.fixture
def tenant(link: Link) -> Tenant:
    name = f"t-{uuid.uuid4().hex}"
    return Tenant(name, link, Directory(link, name, ["main", "second"]), Keys(name))


@pytest.fixture
def other_tenant(link: Link) -> Tenant:
    name = f"o-{uuid.uuid4().hex}"
    return Tenant(name, link, Directory(link, name, ["main"]), Keys(name))
