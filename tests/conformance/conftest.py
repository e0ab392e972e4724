"""The receiver as operators run it: `clickhouse-scim receiver`, its own process, a real Redis."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from aiohttp import ClientSession
from yarl import URL

from app.child import die_with
from app.clock import Clock
from app.directory import tokens
from app.directory.link import connect
from app.sandbox.ports import choose_ports

if TYPE_CHECKING:
    from tests.conftest import RedisServer

SCIM_JSON = "application/scim+json"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
STARTS_S = 20.0
TENANTS = 600  # each test takes one that nobody has used

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:9000"]
"""

TENANT = """
[tenants.{name}]
targets = ["main"]
user_name = "{name}__{{userName}}"
marker_role = "{name}_managed"
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
    def id(self) -> str:
        identifier: str = self.json["id"]
        return identifier

    def ok(self, *statuses: int) -> Reply:
        """Return itself if the status is one of these (any 2xx for none)."""
        fine = self.status in statuses if statuses else 200 <= self.status < 300
        assert fine, (self.status, self.raw)
        return self

    def refused(self, status: int, scim_type: str | None = None) -> Reply:
        """Return itself if it is an Error of RFC 7644 §3.12 with this status and `scimType`."""
        assert self.status == status, (self.status, self.raw)
        assert self.headers["Content-Type"].split(";")[0] == SCIM_JSON
        body = self.json
        assert body["schemas"] == [ERROR]
        assert body["status"] == str(status)
        assert body.get("scimType") == scim_type, body
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Scim:
    """A client of one tenant. Paths and queries are sent as they stand."""

    session: ClientSession = field(repr=False)
    base: str
    token: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request; a header with an empty value is left out."""
        data = raw if body is None else msgspec.json.encode(body)
        sent = {"Authorization": f"Bearer {self.token}", **self.headers}
        if data is not None:
            sent.setdefault("Content-Type", SCIM_JSON)
        sent |= headers or {}
        async with self.session.request(
            method,
            URL(self.base + path, encoded=True),
            data=None if data is None else BytesIO(data),
            headers={name: value for name, value in sent.items() if value},
            skip_auto_headers=["Content-Type"],
            allow_redirects=False,
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, body: Any) -> Reply:
        return await self.send("POST", path, body)

    async def put(self, path: str, body: Any) -> Reply:
        return await self.send("PUT", path, body)

    async def patch(self, path: str, *operations: Mapping[str, Any]) -> Reply:
        body = {"schemas": [PATCH_OP], "Operations": operations}
        return await self.send("PATCH", path, body)

    async def delete(self, path: str) -> Reply:
        return await self.send("DELETE", path)

    async def user(self, name: str | None = None, /, **attributes: Any) -> str:
        """Create a user; return its id."""
        body = {"schemas": [USER], "userName": name or f"u-{uuid.uuid4().hex}"} | attributes
        return (await self.post("/Users", body)).ok(201).id

    async def group(self, name: str | None = None, members: Sequence[str] = ()) -> str:
        """Create a group; return its id."""
        body = {
            "schemas": [GROUP],
            "displayName": name or f"g-{uuid.uuid4().hex}",
            "members": [{"value": member} for member in members],
        }
        return (await self.post("/Groups", body)).ok(201).id

    async def members(self, group: str) -> list[str]:
        reply = (await self.get(f"/Groups/{group}")).ok(200)
        return [member["value"] for member in reply.json.get("members", [])]

    async def find(self, endpoint: str, filter_: str, **parameters: object) -> list[Any]:
        """Return the resources that a filter finds."""
        query = urlencode({"filter": filter_, **parameters}, quote_via=quote)
        found: list[Any] = (await self.get(f"/{endpoint}?{query}")).ok(200).json["Resources"]
        return found


@dataclass(frozen=True, slots=True)
class Access:
    """Where a tenant is served, and the token that opens it."""

    tenant: str
    base: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Live:
    """The running receiver; `take` gives a tenant that nobody else has. `data`: Redis's files."""

    root: str
    log: Path
    data: Path
    _unused: list[Access]

    def take(self) -> Access:
        return self._unused.pop()


@pytest.fixture(scope="session")
def live(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("receiver")
    names = [f"c-{uuid.uuid4().hex[:12]}" for _ in range(TENANTS)]
    file = folder / "clickhouse-scim.toml"
    text = FILE.format(redis=redis_server.url)
    file.write_text(text + "".join(TENANT.format(name=name) for name in names))
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    secrets = asyncio.run(_tokens(redis_server.url, names))
    command = [sys.executable, "-m", "app.cli.main", "receiver", "--config", str(file)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=log,
            stderr=log,
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - no other thread forks here
        )
    try:
        _wait_until_open(process, port, folder / "log")
        root = f"http://127.0.0.1:{port}"
        unused = [Access(n, f"{root}/scim/{n}/v2", t) for n, t in zip(names, secrets, strict=True)]
        yield Live(root, folder / "log", redis_server.data_dir, unused)
    finally:
        process.terminate()
        process.wait()


async def _tokens(url: str, names: Sequence[str]) -> list[str]:
    link, now = connect(url), Clock().now_ms()
    try:
        return [(await tokens.create(link, name, now_ms=now)).token for name in names]
    finally:
        await link.close()


def _wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + STARTS_S
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        said = log.read_text()[-500:]
        assert process.poll() is None, f"the receiver ended: {said}"
        assert time.monotonic() < until, f"the receiver does not answer: {said}"
        time.sleep(0.02)


@pytest.fixture
def access(live: Live) -> Access:
    return live.take()


@pytest.fixture
async def scim(access: Access) -> AsyncIterator[Scim]:
    async with ClientSession() as session:
        yield Scim(session=session, base=access.base, token=access.token)
