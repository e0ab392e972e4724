"""What Sentry is told, received by an endpoint of its kind; and what never leaves."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError, ClientSession, web
from hypothesis import given
from hypothesis import strategies as st

from app.cli.options import this_program
from app.clock import Clock
from app.config.sentry import SentrySettings
from app.directory.keys import Keys
from app.directory.link import connect
from app.directory.tokens import create
from app.sandbox.ports import choose_ports
from app.sentry import AGAIN_S, Reporter, scrubbed

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

SECRETS = (
    "ana@acme.example",
    "chscim_0123456789ab_" + "ab" * 32,
    "pa55-word",
    "pla'n\\ted",
    "d0" * 32,
    "$2b$10$abcdefghijklmnopqrstuv",
)
DEADLINE_S = 30.0


@dataclass(slots=True)
class Sentry:
    """A server that takes envelopes, and keeps them as they came and as events."""

    dsn: str
    raw: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(one.split(b"\n")[2]) for one in self.raw]

    async def until(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(DEADLINE_S):
            while len(self.raw) < count:
                self.came.clear()
                await self.came.wait()
        return self.events

    def holds(self, secret: str) -> bool:
        escaped = json.dumps(secret)[1:-1].encode()
        return any(secret.encode() in one or escaped in one for one in self.raw)


@pytest.fixture
async def sentry() -> AsyncIterator[Sentry]:
    async def take(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        made.raw.append(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        made.came.set()
        return web.json_response({"id": uuid.uuid4().hex})

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made = Sentry(f"http://key@127.0.0.1:{runner.addresses[0][1]}/1")
    yield made
    await runner.cleanup()


class Hands(Clock):
    """A clock that a test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def line(event: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "level": "error"} | more


def raised(secret: str) -> ValueError:
    """Return an error that says and holds the secret, as a bug of ours may."""
    local = {"password": secret}
    try:
        int(f"no such number {secret}: {local}")
    except ValueError as error:
        return error
    raise AssertionError


async def test_nothing_that_was_planted_leaves(sentry: Sentry) -> None:
    reporter = Reporter(SentrySettings(dsn=sentry.dsn), Clock())
    for at, secret in enumerate(SECRETS):
        told = f"GRANT r TO `{secret}`" if "@" in secret else f"IDENTIFIED BY '{secret}'"
        reporter(None, "error", line(f"x.{at}", exc_info=raised(secret), error=secret, step=told))
        reporter(None, "error", line(f"{at}: user {secret}" if "@" in secret else f"{at}: {told}"))
    await asyncio.to_thread(reporter.close)
    assert len(sentry.raw) == 2 * len(SECRETS)
    assert [secret for secret in SECRETS if sentry.holds(secret)] == []
    values = [e["exception"]["values"][0] for e in sentry.events if "exception" in e]
    assert all(set(value) == {"type", "module", "stacktrace"} for value in values)
    frames = [frame for value in values for frame in value["stacktrace"]["frames"]]
    assert all("vars" not in frame for frame in frames)


async def test_an_event_names_its_lane_and_is_grouped_by_code_and_step(sentry: Sentry) -> None:
    reporter = Reporter(SentrySettings(dsn=sentry.dsn, environment="test"), Clock())
    for tenant, code, step in (
        ("acme", 497, "Grant"),
        ("bolt", 497, "Lock"),
        ("acme", 511, "Grant"),
    ):
        parked = line("resource.parked", tenant=tenant, target="eu", code=code, step=step)
        reporter(None, "error", parked)
    await asyncio.to_thread(reporter.close)
    assert [event["tags"] for event in sentry.events] == [
        {"tenant": "acme", "target": "eu", "code": "497", "step": "Grant"},
        {"tenant": "bolt", "target": "eu", "code": "497", "step": "Lock"},
        {"tenant": "acme", "target": "eu", "code": "511", "step": "Grant"},
    ]
    assert len({tuple(event["fingerprint"]) for event in sentry.events}) == 3
    assert {event["environment"] for event in sentry.events} == {"test"}


async def test_ten_thousand_letters_are_one_event_a_minute(sentry: Sentry) -> None:
    clock = Hands()
    reporter = Reporter(SentrySettings(dsn=sentry.dsn), clock)
    for at in range(10_000):
        parked = line("resource.parked", tenant=f"t{at}", code=511, step="Grant")
        assert reporter(None, "error", parked) is parked
    clock.now = AGAIN_S
    reporter(None, "error", line("resource.parked", tenant="t", code=511, step="Grant"))
    await asyncio.to_thread(reporter.close)
    assert len(sentry.events) == 2


async def test_what_is_no_error_is_not_told(sentry: Sentry) -> None:
    reporter = Reporter(SentrySettings(dsn=sentry.dsn), Clock())
    reporter(None, "info", {"event": "request.answered", "level": "info"})
    reporter(None, "warning", {"event": "lane.backing_off", "level": "warning"})
    await asyncio.to_thread(reporter.close)
    assert sentry.events == []


@given(
    local=st.from_regex(r"[A-Za-z0-9._%+-]{1,20}", fullmatch=True),
    domain=st.from_regex(r"[a-z0-9-]{1,20}\.[a-z]{2,6}", fullmatch=True),
    around=st.sampled_from(["{}", "user {} is gone", "<{}>", "({}, 1)", "x:{}; y", "'{}'"]),
)
def test_no_address_survives_scrubbing(local: str, domain: str, around: str) -> None:
    address = f"{local}@{domain}"
    assert address not in scrubbed(around.format(address))


FILE = """
[redis]
url = "{redis}"
[sentry]
dsn = "{dsn}"
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
user = "default"
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
[[tenants.{tenant}.groups]]
group = "Staff"
roles = ["no_such_role_{tenant}"]
"""


async def answers(root: str) -> None:
    """Return once a receiver serves there."""
    async with asyncio.timeout(DEADLINE_S), ClientSession() as http:
        while True:
            with contextlib.suppress(ClientError):
                async with http.get(f"{root}/healthz"):
                    return
            await asyncio.sleep(0.05)


async def test_receiver_and_worker_report_what_fails_in_them(
    sentry: Sentry,
    redis_server: RedisServer,
    clickhouse: ClickHouseServer,
    tmp_path: Path,
) -> None:
    tenant, name = f"t{uuid.uuid4().hex[:8]}", f"ana-{uuid.uuid4().hex[:8]}@acme.example"
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(
        FILE.format(
            redis=redis_server.url, dsn=sentry.dsn, clickhouse=clickhouse.port, tenant=tenant
        )
    )
    link = connect(redis_server.url)
    token = await create(link, tenant, now_ms=Clock().now_ms())
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    processes = [
        await asyncio.create_subprocess_exec(
            *this_program(program, "--config", str(file), *more), stderr=asyncio.subprocess.DEVNULL
        )
        for program, more in (("receiver", ["--port", str(port)]), ("worker", []))
    ]
    try:
        root = f"http://127.0.0.1:{port}"
        await answers(root)
        base = f"{root}/scim/{tenant}/v2"
        headers = {"Authorization": f"Bearer {token.token}"}
        async with ClientSession(headers=headers) as http:
            user = {"userName": name, "password": "pa55-word"}
            async with http.post(f"{base}/Users", json=user) as reply:
                user_id = (await reply.json())["id"]
            group = {"displayName": "Staff", "members": [{"value": user_id}]}
            async with http.post(f"{base}/Groups", json=group) as reply:
                assert reply.status == 201
            (parked,) = await sentry.until(1)
            assert parked["tags"] | {"step": ""} == {
                "tenant": tenant,
                "target": "main",
                "code": "511",
                "revocation": "False",
                "step": "",
            }
            # What nobody foresaw: somebody has written into Redis by hand.
            await link.redis.set(Keys(tenant).resource("user", user_id), b"{}\n" + name.encode())
            async with http.get(f"{base}/Users/{user_id}") as reply:
                assert reply.status == 500
                request_id = reply.headers["X-Request-Id"]
            failed = (await sentry.until(2))[-1]
        assert failed["logentry"]["message"] == "request.failed"
        assert failed["tags"] == {"tenant": tenant}
        assert failed["contexts"]["scim"] == {"request_id": request_id}
        assert failed["exception"]["values"][0]["stacktrace"]["frames"]
        for secret in (name, token.token, token.secret, "pa55-word"):
            assert not sentry.holds(secret)
    finally:
        for process in processes:
            process.terminate()
            await process.wait()
        await link.close()
