"""Each alert, drilled: its cause is produced, its expression turns true, the runbook mends it.

Workers are processes, targets real, and what breaks is broken there. Times that an alert waits for
are made by moving the clock of `/metrics`, or the mark of when something began; `for` is
Prometheus's own affair.
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
from app.cli.options import this_program
from app.clock import Clock
from app.config.load import load
from app.directory.activity import Window, note_activity
from app.directory.keys import Keys
from app.directory.lanes import LaneStore
from app.directory.tokens import create
from app.http.main import build_receiver, make_runner
from app.metrics.exposition import Exposition
from workers.clickhouse.pool import Endpoint, Pool

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
user = "worker_{tenant}"
[drift]
interval_seconds = 1
[guard]
at_least = 3
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
user_name = "{{tenant}}_{{userName}}"
authentication = {{ method = "no_password" }}
[[tenants.{tenant}.groups]]
group = "Staff"
roles = ["{tenant}_staff"]
[tenants.{tenant}.roles.{tenant}_staff]
"""
DEADLINE_S = 120.0
DAY_MS = 86_400_000


class Hands(Clock):
    """A clock of which a test moves the date."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@dataclass(slots=True)
class Drill:
    """A receiver and the Redis behind it, a target, and a worker where a drill starts one.

    `admin`: of the target. `letter`: the id of the dead letter that the runbook calls ID.
    """

    redis: RedisServer
    target: ClickHouseServer
    admin: Pool
    config: Path
    tenant: str
    clock: Hands
    http: ClientSession
    capsys: pytest.CaptureFixture[str]
    token: str = ""
    new: str = ""
    first_id: str = ""
    letter: str = ""
    root: str = ""
    workers: list[asyncio.subprocess.Process] = field(default_factory=list)
    is_down: bool = False
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
        status, _ = await self.ask("POST", "/Users", body)
        return status

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return status and body of what the receiver answers to the provider."""
        url = f"{self.root}/scim/{self.tenant}/v2{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.http.request(method, url, json=body, headers=headers) as reply:
            return reply.status, await reply.json(content_type=None)

    async def made(self, path: str, body: Any) -> str:
        status, there = await self.ask("POST", path, body)
        assert status == 201, there
        return str(there["id"])

    async def sql(self, statement: str) -> list[tuple[Any, ...]]:
        async with self.admin.session() as session:
            return [tuple(row) for row in await session.query(statement)]

    async def start_worker(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *this_program("worker", "--config", str(self.config)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        self.workers.append(process)

    async def until(self, condition: Callable[[str], bool]) -> str:
        """Return the scrape that fulfils the condition."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                scrape = await self.scrape()
                if condition(scrape):
                    return scrape
                await asyncio.sleep(0.2)  # each is a look at everything

    async def applied(self) -> None:
        """Return once the lane has nothing left to do."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                status = await self.store.status()
                if status.applied_seq == status.last_seq and status.state == "idle":
                    return
                await asyncio.sleep(0.05)

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
    admin = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
    async with ClientSession() as http:
        made = Drill(own_redis, clickhouse, admin, file, tenant, Hands(), http, capsys)
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
        await made.sql(f"CREATE USER worker_{tenant} IDENTIFIED WITH no_password")
        await rights_again(made)
        yield made
        for process in made.workers:
            if process.returncode is None:
                process.terminate()
            await process.wait()
        await stop()
        await admin.close()
        if made.is_down:  # others share it
            clickhouse.start()


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
    """Whose lane has nothing to do."""
    await drill.start_worker()
    await drill.applied()


async def a_seen_worker(drill: Drill) -> None:
    """Whose figures have been added to those of the fleet, too."""
    await a_worker(drill)
    await drill.until(lambda scrape: 'scim_processes{kind="worker"} 1.0' in scrape)


async def no_worker(drill: Drill) -> None:
    drill.workers[-1].kill()
    await drill.workers[-1].wait()
    drill.clock.ahead_ms = 60_000


async def worker_again(drill: Drill) -> None:
    drill.clock.ahead_ms = 0
    await drill.start_worker()


async def a_revocation(drill: Drill) -> None:
    """The account has lost a right, and somebody is deactivated."""
    user = {"userName": "leaver", "active": True}
    i = await drill.made("/Users", user)
    await drill.applied()
    await drill.sql(f"REVOKE ALTER USER ON *.* FROM worker_{drill.tenant}")
    status, _ = await drill.ask("PUT", f"/Users/{i}", user | {"active": False})
    assert status == 200
    await drill.until(lambda scrape: 'scim_dead_letters{target="main"} 1.0' in scrape)
    drill.clock.ahead_ms = 120_000


async def rights_again(drill: Drill) -> None:
    code, printed = await drill.command("provisioner-grants", drill.tenant, "main")
    assert code == 0, printed
    for statement in re.findall(r"^(GRANT .*);$", printed, re.MULTILINE):
        await drill.sql(statement)


async def an_old_change(drill: Drill) -> None:
    await a_dead_target(drill)
    dirty = Keys(drill.tenant).dirty
    since = int((await drill.link.redis.hget(dirty, "main")) or 0)
    await drill.link.redis.hset(dirty, "main", str(since - 600_000))


async def a_dead_target(drill: Drill) -> None:
    drill.target.stop()
    drill.is_down = True
    assert await drill.post({"userName": "ana"}) == 201


async def target_again(drill: Drill) -> None:
    drill.target.start()
    drill.is_down = False


async def a_staff(drill: Drill) -> None:
    """A worker, and a group of four that gives them a role."""
    await a_seen_worker(drill)
    members = [{"value": await drill.made("/Users", {"userName": f"s{n}"})} for n in range(4)]
    drill.new = await drill.made("/Groups", {"displayName": "Staff", "members": members})
    await drill.applied()


async def a_mass_change(drill: Drill) -> None:
    status, _ = await drill.ask("DELETE", f"/Groups/{drill.new}")
    assert status == 204


async def confirmed(drill: Drill) -> None:
    code, printed = await drill.command("lane", "resume", drill.tenant, "main", "--confirm")
    assert code == 0, printed
    await drill.applied()
    assert await drill.sql(f"SHOW GRANTS FOR `{drill.tenant}_s0`") == [
        (f"GRANT {drill.tenant}_managed TO {drill.tenant}_s0",)
    ]


async def a_letter(drill: Drill) -> None:
    """Somebody has made a user of that name by hand."""
    await drill.sql(f"CREATE USER {drill.tenant}_ana")
    i = await drill.made("/Users", {"userName": "ana"})
    drill.letter = f"{drill.tenant}/main/{i}"


async def no_such_user(drill: Drill) -> None:
    await drill.sql(f"DROP USER {drill.tenant}_ana")


async def a_pause(drill: Drill) -> None:
    await drill.store.pause()


async def drift(drill: Drill) -> None:
    await drill.sql(f"REVOKE {drill.tenant}_staff FROM `{drill.tenant}_s0`")


async def wiped(drill: Drill) -> None:
    """As after the restore of a backup of before: nothing of ours is there."""
    for kind in ("USER", "ROLE"):
        there = await drill.sql(f"SELECT name FROM system.{kind.lower()}s")
        for (name,) in there:
            if name.startswith(f"{drill.tenant}_"):
                await drill.sql(f"DROP {kind} `{name}`")


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
    await drill.start_worker()


Step = Callable[[Drill], Awaitable[None]]
# Before, the cause, what is done about it before the runbook's commands, and after them.
DRILLS: dict[str, tuple[Step, Step, Step, Step]] = {
    "ScimReceiverDown": (nothing, no_receiver, nothing, receiver_again),
    "ScimRedisDown": (nothing, no_redis, nothing, redis_again),
    "ScimNoWorker": (a_seen_worker, no_worker, worker_again, nothing),
    "ScimRevocationWaits": (a_worker, a_revocation, rights_again, nothing),
    "ScimTargetLags": (a_worker, an_old_change, target_again, nothing),
    "ScimTargetUnavailable": (a_worker, a_dead_target, target_again, nothing),
    "ScimLaneBlocked": (a_staff, a_mass_change, nothing, confirmed),
    "ScimLanePaused": (nothing, a_pause, nothing, nothing),
    "ScimDeadLetters": (a_worker, a_letter, no_such_user, nothing),
    "ScimDrift": (a_staff, drift, nothing, nothing),
    "ScimTargetWiped": (a_staff, wiped, nothing, nothing),
    "ScimRequestsFail": (failures, failures, nothing, nothing),
    "ScimCommitsSlow": (nothing, slow_commits, nothing, nothing),
    "ScimTokenEnds": (nothing, an_ending_token, nothing, nothing),
    "ScimTokenNotSwitched": (nothing, a_rotation, nothing, switched),
    "ScimTokenLeftOver": (nothing, a_leftover, nothing, nothing),
    "ScimProviderSilent": (nothing, silence, nothing, heard_again),
    "ScimProviderFails": (nothing, refusals, nothing, heard_again),
    "ScimLedgerLags": (nothing, an_old_event, nothing, written),
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
    before, cause, cure, after = DRILLS[alert]
    expression = RULES[alert]["expr"]
    drill.receiver.metrics.expect(["main"])
    assert await drill.post({"userName": "the first"}) == 201
    await drill.receiver.activity.flush()
    await before(drill)
    first = await drill.until(lambda scrape: scrapes(scrape, scrape).evaluate(expression) == {})
    await cause(drill)
    await drill.until(lambda scrape: scrapes(first, scrape).evaluate(expression) != {})
    await cure(drill)
    token = alert.startswith("ScimToken")
    await drill.runbook(alert, ID=drill.first_id if token else drill.letter)
    await after(drill)
    await drill.until(lambda scrape: scrapes(scrape, scrape).evaluate(expression) == {})
