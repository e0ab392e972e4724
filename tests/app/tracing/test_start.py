"""Traces as a collector gets them from a real receiver and a real worker."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import random
import socket
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError, ClientSession, web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from app.cli.options import this_program
from app.clock import Clock
from app.config.load import load
from app.config.tracing import TracingSettings
from app.directory.link import connect
from app.directory.tokens import create
from app.errors import ConfigError
from app.sandbox.ports import choose_ports
from app.tracing.export import AGAIN_S, Exporter
from app.tracing.spans import Tracing
from app.tracing.start import traced

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

DEADLINE_S = 120.0
FILE = """
[redis]
url = "{redis}"
[receiver]
trusted_proxies = ["127.0.0.1"]
[tracing]
endpoint = "{endpoint}"
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
user = "default"
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
user_name = "{tenant}_{{userName}}"
"""


@dataclass(slots=True)
class Collector:
    """Takes spans over OTLP."""

    endpoint: str
    raw: list[bytes] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.BaseRequest) -> web.Response:
        body = await request.read()
        packed = request.headers.get("Content-Encoding") == "gzip"
        self.raw.append(gzip.decompress(body) if packed else body)
        for resource in ExportTraceServiceRequest.FromString(self.raw[-1]).resource_spans:
            self.services |= {
                one.value.string_value
                for one in resource.resource.attributes
                if one.key == "service.name"
            }
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.came.set()
        return web.Response(content_type="application/x-protobuf")

    async def trace(self, trace_id: str, *names: str) -> dict[str, Span]:
        """Return the spans of a trace by name, once these are among them."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                found = {s.name: s for s in self.spans if s.trace_id.hex() == trace_id}
                if set(names) <= found.keys():
                    return found
                self.came.clear()
                await self.came.wait()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    made = Collector("")
    runner = web.ServerRunner(web.Server(made.take))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.endpoint = f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    yield made
    await runner.cleanup()


async def answers(root: str) -> None:
    """Return once a receiver serves there."""
    async with asyncio.timeout(DEADLINE_S), ClientSession() as http:
        while True:
            with contextlib.suppress(ClientError):
                async with http.get(f"{root}/healthz"):
                    return
            await asyncio.sleep(0.05)


async def test_a_deactivation_is_one_trace_from_the_request_to_the_receipt(
    collector: Collector, redis_server: RedisServer, clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    tenant, name = f"t{uuid.uuid4().hex[:8]}", f"ana-{uuid.uuid4().hex[:8]}@acme.example"
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(
        FILE.format(
            redis=redis_server.url,
            endpoint=collector.endpoint,
            clickhouse=clickhouse.port,
            tenant=tenant,
        )
    )
    link = connect(redis_server.url)
    token = await create(link, tenant, now_ms=Clock().now_ms())
    await link.close()
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    processes = [
        await asyncio.create_subprocess_exec(
            *this_program(program, "--config", str(file), *more),
            stderr=asyncio.subprocess.DEVNULL,
            env=os.environ | {"OTEL_BSP_SCHEDULE_DELAY": "100"},
        )
        for program, more in (("receiver", ["--port", str(port)]), ("worker", []))
    ]
    made, left = "11" * 16, "22" * 16
    base = f"http://127.0.0.1:{port}/scim/{tenant}/v2"
    try:
        await answers(f"http://127.0.0.1:{port}")
        headers = {"Authorization": f"Bearer {token.token}"}
        async with ClientSession(headers=headers) as http:
            user: dict[str, Any] = {"userName": name, "password": "pa55-word", "active": True}
            parent = {"traceparent": f"00-{made}-{'33' * 8}-01"}
            async with http.post(f"{base}/Users", json=user, headers=parent) as reply:
                user_id = (await reply.json())["id"]
            await collector.trace(made, "POST Users", "commit write", "lane batch")
            parent = {"traceparent": f"00-{left}-{'44' * 8}-01"}
            gone = user | {"active": False}
            async with http.put(f"{base}/Users/{user_id}", json=gone, headers=parent) as reply:
                seq = int(reply.headers["X-Event-Seq"])
        spans = await collector.trace(left, "PUT Users", "commit write", "lane batch", "leaver out")
    finally:
        for process in processes:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in processes))
    assert any(one.startswith("statement ") for one in spans)
    assert any(one.startswith("redis lane_acknowledge") for one in spans)
    told = {one.key: one.value.int_value for one in spans["PUT Users"].attributes}
    assert told["scim.seq"] == seq
    assert collector.services == {"clickhouse-scim-receiver", "clickhouse-scim-worker"}
    for secret in (name, "acme.example", "pa55-word", token.token, token.secret, user_id):
        assert not any(secret.encode() in one for one in collector.raw), secret
    assert not any(b"VALID UNTIL" in one or b"ALTER" in one for one in collector.raw)


async def test_a_collector_that_hangs_holds_up_no_end() -> None:
    hangs = socket.create_server(("127.0.0.1", 0))
    endpoint = f"http://127.0.0.1:{hangs.getsockname()[1]}/v1/traces"
    settings = TracingSettings(endpoint=endpoint)

    def trace_much() -> None:
        with traced(settings, "worker") as tracing:
            assert tracing is not None
            for _ in range(2000):
                tracing.receipt(f"00-{'1' * 32}-{'2' * 16}-01", "t", "m", asked_ms=1, nodes=1)

    async with asyncio.timeout(15):  # the library by itself tries for 30 s
        await asyncio.to_thread(trace_much)
    hangs.close()


def test_what_nobody_takes_is_said_once_a_minute() -> None:
    class Hands(Clock):
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    nobody = choose_ports(["collector"], {}, random.Random())["collector"]
    clock = Hands()
    exporter = Exporter(f"http://127.0.0.1:{nobody}/v1/traces", timeout_s=0.1, clock=clock)
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    Tracing(provider).receipt(f"00-{'1' * 32}-{'2' * 16}-01", "t", "m", asked_ms=1, nodes=1)
    with capture_logs() as lines:
        for now in (0.0, 59.0, AGAIN_S):
            clock.now = now
            exporter.export(kept.get_finished_spans())
    assert lines == [
        {"event": "spans.lost", "spans": 1, "log_level": "warning"},
        {"event": "spans.lost", "spans": 2, "log_level": "warning"},
    ]


async def test_without_the_table_nothing_of_the_extra_is_imported() -> None:
    code = (
        "import sys, app.http.main, workers.main\n"
        "from app.tracing.start import traced\n"
        "with traced(None, 'worker') as tracing: assert tracing is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("collector:4317", "is no such URL"),
        ("http://collector:4318", "is no such URL"),
        ("http://collector:x/v1/traces", "is no such URL"),
        ("https://me:secret@collector/v1/traces", "OTEL_EXPORTER_OTLP_HEADERS"),
    ],
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis="redis://h:1/0", endpoint=endpoint, clickhouse=9000, tenant="t")
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    (problem,) = map(str, refused.value.problems)
    assert problem.startswith("tracing.endpoint")
    assert told in problem
    assert "secret" not in problem


def test_without_the_extra_the_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(
        redis="redis://h:1/0", endpoint="http://c:4318/v1/traces", clickhouse=9000, tenant="t"
    )
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"pip install 'clickhouse-scim\[otel\]'"):
        load(file, {})
