"""The real receiver on a real port and a real Redis, with two tenants that nobody else has."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import ClientSession, web
from yarl import URL

from app.config.load import load
from app.config.settings import Settings
from app.directory import tokens
from app.directory.link import Link
from app.http.main import build_receiver, make_runner
from app.http.receiver import Receiver

if TYPE_CHECKING:
    from tests.conftest import RedisServer

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.{tenant}]
targets = ["main"]
user_name = "{{tenant}}__{{userName}}"
marker_role = "marker_one"
[[tenants.{tenant}.groups]]
group = "Data Analysts"
roles = ["analyst"]
[tenants.{other}]
targets = ["main"]
user_name = "{{tenant}}__{{userName}}"
marker_role = "marker_two"
verified_domains = ["acme.example"]
"""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `json` is None where there is no body."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.raw) if self.raw else None

    @property
    def seq(self) -> int:
        return int(self.headers["X-Event-Seq"])

    @property
    def id(self) -> str:
        identifier: str = self.json["id"]
        return identifier

    def refuses(self, status: int, scim_type: str | None = None, word: str = "") -> bool:
        """Whether it is an Error of RFC 7644 §3.12 with these, and `word` in its detail."""
        assert self.status == status, (self.status, self.raw)
        assert self.headers["Content-Type"] == "application/scim+json; charset=utf-8"
        body = self.json
        assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
        assert body["status"] == str(status)
        assert body.get("scimType") == scim_type, body
        assert word in body["detail"], body
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Speaks to one tenant's SCIM endpoints; `authorization` is sent where it is not empty."""

    session: ClientSession
    root: str
    tenant: str
    authorization: str = ""
    receiver: Receiver = field(repr=False)

    @property
    def base(self) -> str:
        return f"{self.root}/scim/{self.tenant}/v2"

    @property
    def link(self) -> Link:
        return self.receiver.shards.of(self.tenant)

    async def __call__(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send `path`, taken as it is: below the tenant's base, or from the root for `//`."""
        sent = {"Authorization": self.authorization} if self.authorization else {}
        if json is not None:
            data = msgspec.json.encode(json)
        if data is not None:
            sent["Content-Type"] = "application/scim+json"
        url = self.root + path[1:] if path.startswith("//") else self.base + path
        async with self.session.request(
            method,
            URL(url, encoded=True),
            data=None if data is None else BytesIO(data),
            headers={k: v for k, v in (sent | dict(headers or {})).items() if v},
            skip_auto_headers=["Content-Type"],
            allow_redirects=False,
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    def with_token(self, authorization: str) -> Client:
        return replace(self, authorization=authorization)

    async def user(self, name: str, **attributes: Any) -> str:
        reply = await self("POST", "/Users", {"userName": name} | attributes)
        assert reply.status == 201, reply.raw
        return reply.id

    async def group(self, name: str, *members: str) -> str:
        body = {"displayName": name, "members": [{"value": m} for m in members]}
        reply = await self("POST", "/Groups", body)
        assert reply.status == 201, reply.raw
        return reply.id

    async def members(self, group: str) -> list[str]:
        reply = await self("GET", f"/Groups/{group}")
        return [member["value"] for member in reply.json["members"]]

    async def last_seq(self) -> int:
        return await self.receiver.tenants[self.tenant].directory.last_seq()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running receiver; `scim` and `other` are clients of its two tenants."""

    receiver: Receiver
    scim: Client
    other: Client
    config: Path

    @property
    def link(self) -> Link:
        return self.scim.link


def settings_of(file: Path, redis_url: str, extra: str = "") -> tuple[Settings, str, str]:
    """Write a configuration with two tenants that nobody else has; return it and their names."""
    tenant, other = f"t-{uuid.uuid4().hex}", f"o-{uuid.uuid4().hex}"
    file.write_text(FILE.format(redis=redis_url, tenant=tenant, other=other) + extra)
    return load(file, {}), tenant, other


@asynccontextmanager
async def running(file: Path, redis_url: str, extra: str = "") -> AsyncIterator[Service]:
    settings, tenant, other = settings_of(file, redis_url, extra)
    receiver = build_receiver(settings, allow_volatile_redis=False)
    receiver.admitted |= set(receiver.shards.links.values())
    created = [
        await tokens.create(receiver.shards.of(name), name, now_ms=receiver.clock.now_ms())
        for name in (tenant, other)
    ]
    runner = make_runner(receiver)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession() as session:
        first, second = (
            Client(
                session=session,
                root=root,
                tenant=name,
                authorization=f"Bearer {token.token}",
                receiver=receiver,
            )
            for name, token in zip((tenant, other), created, strict=True)
        )
        yield Service(receiver=receiver, scim=first, other=second, config=file)
    await runner.cleanup()


Running = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture(name="running")
def running_fixture() -> Running:
    """A receiver where the service of the other fixtures is not the right one."""
    return running


@pytest.fixture
async def service(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Service]:
    async with running(tmp_path / "clickhouse-scim.toml", redis_server.url) as service:
        yield service


@pytest.fixture
def scim(service: Service) -> Client:
    return service.scim


@pytest.fixture
async def frail(own_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Service]:
    """A service whose Redis the test may stop, start and break (`own_redis`)."""
    async with running(tmp_path / "clickhouse-scim.toml", own_redis.url) as service:
        yield service
