"""Each alert, drilled: its cause is produced, its expression turns true, the runbook mends it.

Times that an alert waits for are made by moving the clock of `/metrics`, or the mark of when
something began; `for` is Prometheus's own affair.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from aiohttp import ClientError, ClientSession, web

from app.cli.main import main
from app.clock import Clock
from app.config.load import load
from app.directory.activity import Window, note_activity
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import Acknowledgement, LaneStore, Letter
from app.directory.tokens import create
from app.http.main import build_receiver, make_runner
from app.metrics.exposition import Exposition
from app.metrics.fleet import PROCESSES, Fleet

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer
    from tests.docker.conftest import Scrapes

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "docker/prometheus/rules.yml").read_text("utf-8"))["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
FILE = """
[redis]
url = "{redis}"
[ledger]
url = "clickhouse://default@127.0.0.1:{clickhouse}/ledger_{tenant}"
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
user = "default"
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
"""
DAY_MS = 86_400_000


class Hands(Clock):
    """A clock of which a test moves the date."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@dataclass(slots=True)
class Drill:
    """A receiver and the Redis behind it; a worker where a drill starts one."""

    redis: RedisServer
    config: Path
    tenant: str
    clock: Hands
    http: ClientSession
    capsys: pytest.CaptureFixture[str]
    token: str = ""
    new: str = ""
    first_id: str = ""
    root: str = ""
    stop: Callable[[], Awaitable[None]] = field(init=False)
    restart: Callable[[], Awaitable[None]] = field(init=False)
    receiver: Any = None

    @property
    def link(self) -> Any:
        return self.receiver.shards.of(self.tenant)

    @property
    def store(self) -> LaneStore:
        return LaneStore(self.link, self.tenant, "main")

    async def scrape(self) -> str:
        """Return what /metrics says now, nothing remembered; "" where nobody answers."""
        if self.receiver is not None:
            self.receiver.exposition = Exposition(
                self.receiver.shards, self.receiver.fleet, self.clock
            )
        try:
            async with self.http.get(f"{self.root}/metrics") as reply:
                return await reply.text()
        except ClientError:
            return ""

    async def post(self, body: Any) -> int:
        url = f"{self.root}/scim/{self.tenant}/v2/Users"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.post(url, json=body, headers=headers) as reply:
            return reply.status

    async def command(self, *words: str) -> tuple[int, str]:
        arguments = [*words, "--config", str(self.config)] if words[0] != "check-config" else words
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            code = await loop.run_in_executor(pool, main, list(arguments))
        printed = self.capsys.readouterr()
        return code, printed.out + printed.err

    async def runbook(self, alert: str, **known: str) -> None:
        """Run every command that the alert's section has on a line of its own."""
        for line in re.findall(r"^ {4}clickhouse-scim (.*)$", SECTIONS[alert], re.MULTILINE):
            words = [
                {
                    "TENANT": self.tenant,
                    "TARGET": "main",
                    "clickhouse-scim.toml": str(self.config),
                }.get(word, known.get(word, word))
                for word in line.split()
            ]
            code, printed = await self.command(*words)
            assert code in {0, 1}, (line, printed)
            assert "bug:" not in printed, (line, printed)


@pytest.fixture
async def drill(
    own_redis: RedisServer,
    clickhouse: ClickHouseServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Drill]:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=own_redis.url, clickhouse=clickhouse.port, tenant=tenant)
    file.write_text(text)
    async with ClientSession() as http:
        made = Drill(own_redis, file, tenant, Hands(), http, capsys)
        runners: list[web.BaseRunner] = []

        async def start() -> None:
            receiver = build_receiver(load(file, {}), allow_volatile_redis=False)
            receiver.admitted |= set(receiver.shards.links.values())
            runner = make_runner(receiver)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            made.receiver = receiver
            made.root = f"http://127.0.0.1:{runner.addresses[0][1]}"

        async def stop() -> None:
            if runners:
                await runners.pop().cleanup()
            made.receiver = None

        made.stop, made.restart = stop, start
        await start()
        token = await create(made.link, tenant, now_ms=Clock().now_ms())
        made.token, made.first_id = token.token, token.id
        yield made
        await stop()


async def nothing(_: Drill) -> None:
    """What the cause needs nobody for."""


async def no_redis(drill: Drill) -> None:
    drill.redis.stop()


async def redis_again(drill: Drill) -> None:
    drill.redis.start()


async def no_receiver(drill: Drill) -> None:
    await drill.stop()


async def receiver_again(drill: Drill) -> None:
    await drill.restart()


async def a_worker(drill: Drill) -> None:
    await Fleet(drill.receiver.shards, drill.receiver.metrics, "worker", Clock()).flush()


async def no_worker(drill: Drill) -> None:
    await drill.link.redis.delete(PROCESSES)


def letter(drill: Drill, *, revocation: bool) -> Letter:
    return Letter(
        id=f"{drill.tenant}/main/ana",
        resource_type="User",
        resource_id="ana",
        name="ana@acme.example",
        seq_first=1,
        seq_last=1,
        code=497,
        error="Not enough privileges",
        attempts=1,
        first_ms=Clock().now_ms() - 120_000,
        last_ms=Clock().now_ms(),
        revocation=revocation,
    )


async def parked(drill: Drill, *, revocation: bool) -> None:
    held = await drill.store.acquire(30_000)
    assert held is not None
    letters = {"ana": letter(drill, revocation=revocation)}
    await drill.store.acknowledge(held.epoch, Acknowledgement(cursor=0, letters=letters))
    await drill.store.release(held.epoch)


async def a_letter(drill: Drill) -> None:
    await parked(drill, revocation=False)


async def a_revocation(drill: Drill) -> None:
    await parked(drill, revocation=True)


async def no_letter(drill: Drill) -> None:
    """As a worker does once the resource could be applied."""
    held = await drill.store.acquire(30_000)
    assert held is not None
    await drill.store.acknowledge(held.epoch, Acknowledgement(cursor=0, letters={"ana": None}))
    await drill.store.release(held.epoch)


async def an_old_change(drill: Drill) -> None:
    assert await drill.post({"userName": "ana"}) == 201
    dirty = Keys(drill.tenant).dirty
    since = int((await drill.link.redis.hget(dirty, "main")) or 0)
    await drill.link.redis.hset(dirty, "main", str(since - 600_000))


async def drained(drill: Drill) -> None:
    """As a worker does: applied, and nothing left."""
    held = await drill.store.acquire(30_000)
    assert held is not None
    seq = (await drill.store.status()).last_seq
    await drill.store.acknowledge(held.epoch, Acknowledgement(cursor=seq))
    assert await drill.store.settle(held.epoch) == "idle"


async def a_dead_target(drill: Drill) -> None:
    held = await drill.store.acquire(30_000)
    assert held is not None
    await drill.store.report(held.epoch, "TargetUnavailable: connection refused", 10_000, 3)


async def a_mass_change(drill: Drill) -> None:
    lane = Keys(drill.tenant).lane("lane", "main")
    await drill.link.redis.hset(lane, "blocked", "takes access from 400 of 500")


async def confirmed(drill: Drill) -> None:
    code, printed = await drill.command("lane", "resume", drill.tenant, "main", "--confirm")
    assert code == 0, printed
    await drill.link.redis.hdel(Keys(drill.tenant).lane("lane", "main"), "blocked")


async def a_pause(drill: Drill) -> None:
    await drill.store.pause()


async def drift(drill: Drill) -> None:
    drill.receiver.metrics.drift.labels("main", "true").inc(3)


async def wiped(drill: Drill) -> None:
    drill.receiver.metrics.wiped.labels("main").inc()


async def failures(drill: Drill) -> None:
    drill.redis.stop()
    for _ in range(3):
        assert await drill.post({"userName": "ana"}) == 503
    drill.redis.start()


async def slow_commits(drill: Drill) -> None:
    redis = drill.link.redis
    for name in ("ana", "bo"):
        await redis.execute_command("CLIENT", "PAUSE", "400", "WRITE")
        assert await drill.post({"userName": name}) == 201


async def an_ending_token(drill: Drill) -> None:
    link = drill.link
    await link.redis.delete(Keys(drill.tenant).tokens)
    await create(link, drill.tenant, now_ms=Clock().now_ms(), expires_in_s=86400)


async def rotated(drill: Drill) -> str:
    """Rotate the token seven hours ago by the clock of /metrics; return the new one."""
    code, printed = await drill.command(
        "token", "rotate", drill.tenant, drill.token.split("_")[1], "--overlap", "90d", "--json"
    )
    assert code == 0, printed
    drill.clock.ahead_ms = 7 * 3_600_000
    new: str = json.loads(printed.splitlines()[-1])["token"]
    return new


async def a_rotation(drill: Drill) -> None:
    drill.new = await rotated(drill)


async def switched(drill: Drill) -> None:
    """The provider comes with the new token, and receivers note that."""
    drill.token = drill.new
    assert await drill.post({"userName": "switched"}) == 201
    await drill.stop()
    await drill.restart()


async def a_leftover(drill: Drill) -> None:
    await a_rotation(drill)
    await switched(drill)
    drill.clock.ahead_ms = 2 * DAY_MS


async def silence(drill: Drill) -> None:
    await drill.link.redis.delete(Keys(drill.tenant).activity)
    now_ms = Clock().now_ms()
    for day in range(20, 8, -1):
        at = now_ms - day * DAY_MS
        await note_activity(drill.link, drill.tenant, Window(at, at))


async def heard_again(drill: Drill) -> None:
    assert await drill.post({"userName": "ana"}) == 201
    await drill.receiver.activity.flush()


async def refusals(drill: Drill) -> None:
    for _ in range(12):
        assert await drill.post({"displayName": "no name"}) == 400
    await drill.receiver.activity.flush()
    activity = Keys(drill.tenant).activity
    since = Clock().now_ms() - 3_600_000
    await drill.link.redis.hset(activity, "failing", str(since))


async def an_old_event(drill: Drill) -> None:
    assert await drill.post({"userName": "ana"}) == 201
    drill.clock.ahead_ms = 3_600_000


async def written(drill: Drill) -> None:
    """As the ledger's lane does once its tables are there."""
    lane = Keys(drill.tenant).lane("lane", LEDGER)
    await drill.link.redis.hset(lane, "cursor", "2")


Step = Callable[[Drill], Awaitable[None]]
# Before, the cause, and what ends it beside the commands of the runbook.
DRILLS: dict[str, tuple[Step, Step, Step]] = {
    "ScimReceiverDown": (nothing, no_receiver, receiver_again),
    "ScimRedisDown": (nothing, no_redis, redis_again),
    "ScimNoWorker": (a_worker, no_worker, a_worker),
    "ScimRevocationWaits": (nothing, a_revocation, no_letter),
    "ScimTargetLags": (nothing, an_old_change, drained),
    "ScimTargetUnavailable": (nothing, a_dead_target, nothing),
    "ScimLaneBlocked": (nothing, a_mass_change, confirmed),
    "ScimLanePaused": (nothing, a_pause, nothing),
    "ScimDeadLetters": (nothing, a_letter, no_letter),
    "ScimDrift": (nothing, drift, nothing),
    "ScimTargetWiped": (nothing, wiped, nothing),
    "ScimRequestsFail": (failures, failures, nothing),
    "ScimCommitsSlow": (nothing, slow_commits, nothing),
    "ScimTokenEnds": (nothing, an_ending_token, nothing),
    "ScimTokenNotSwitched": (nothing, a_rotation, switched),
    "ScimTokenLeftOver": (nothing, a_leftover, nothing),
    "ScimProviderSilent": (nothing, silence, heard_again),
    "ScimProviderFails": (nothing, refusals, heard_again),
    "ScimLedgerLags": (nothing, an_old_event, written),
}


def test_every_alert_has_its_drill_and_its_section_of_the_runbook() -> None:
    assert set(DRILLS) == set(RULES) == set(SECTIONS)
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


@pytest.mark.parametrize("alert", DRILLS)
async def test_the_cause_raises_the_alert_and_the_runbook_ends_it(
    drill: Drill, alert: str, scrapes: Callable[[str, str], Scrapes]
) -> None:
    before, cause, mend = DRILLS[alert]
    expression = RULES[alert]["expr"]
    drill.receiver.metrics.expect(["main"])
    assert await drill.post({"userName": "the first"}) == 201
    await drill.receiver.activity.flush()
    await drained(drill)
    await before(drill)
    first = await drill.scrape()
    assert scrapes(first, first).evaluate(expression) == {}
    await cause(drill)
    second = await drill.scrape()
    assert scrapes(first, second).evaluate(expression) != {}
    token = alert.startswith("ScimToken")
    known = {"ID": drill.first_id if token else f"{drill.tenant}/main/ana"}
    await drill.runbook(alert, **known)
    await mend(drill)
    third = await drill.scrape()
    assert scrapes(third, third).evaluate(expression) == {}
