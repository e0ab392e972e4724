"""The guides, executed: their commands on a running installation, their SQL on an engine, their
requests on a receiver, their tables as a configuration.

A page's commands run in their order, in a tenant that has a group, two users and a dead letter.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web

from app.cli.main import main
from app.clock import Clock
from app.config.ledger import LedgerSettings
from app.config.load import load
from app.directory.lanes import Acknowledgement, LaneStore, Letter
from app.directory.tokens import create
from app.http.main import build_receiver, make_runner
from app.http.receiver import Receiver
from workers.clickhouse.pool import Endpoint, Pool
from workers.ledger.schema import migrate

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

DOCS = Path(__file__).parents[2] / "docs"
SERVING = {"receiver", "worker", "sandbox"}
# Pages that tell how to install, run or look after it. The others are reference, but for the
# runbook, whose commands run in the drills of its alerts.
GUIDES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in {"conformance.md", "sandbox.md", "configuration.md", "runbook.md"}
]
FILE = """
[redis]
url = "{redis}"
[ledger]
url = "clickhouse://default@127.0.0.1:{port}/scim"
[targets.main]
hosts = ["127.0.0.1:{port}"]
user = "default"
[tenants.{tenant}]
targets = ["main"]
marker_role = "{tenant}_managed"
user_name = "{{tenant}}_{{userName}}"
"""
HEAD = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.main]
hosts = ["127.0.0.1:9000"]
"""


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """Return the lines of the page's code that call this program or the receiver."""
    lines = re.findall(r"^ {4,}(\S.*)$", page.read_text("utf-8"), re.MULTILINE)
    return [line for line in lines if line.startswith(("clickhouse-scim ", "curl "))]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page is tried."""

    config: Path
    tenant: str
    root: str
    token: str
    token_file: Path
    receiver: Receiver

    @property
    def base(self) -> str:
        return f"{self.root}/scim/{self.tenant}/v2"

    def filled(self, line: str) -> list[str]:
        """Return the words of a command, with what stands for something filled in."""
        known = {
            "TENANT": self.tenant,
            "acme": self.tenant,
            "TARGET": "main",
            "eu": "main",
            "FILE": str(self.token_file),
            "USER": "ana@acme.example",
            "clickhouse-scim.toml": str(self.config),
            "https://HOST/scim/TENANT/v2": self.base,
        }
        words = [known.get(word, word) for word in shlex.split(line, comments=True)]
        if words[:2] == ["token", "revoke"] or words[:2] == ["token", "rotate"]:
            known["ID"] = self.token.split("_")[1]
        else:
            known["ID"] = f"{self.tenant}/main/ana"
        return [known.get(word, word) for word in words]


@pytest.fixture
async def ledger(clickhouse: ClickHouseServer) -> None:
    """The ledger's tables, in the database that pages name."""
    await migrate(LedgerSettings(url=f"clickhouse://default@127.0.0.1:{clickhouse.port}/scim"))


@pytest.fixture
async def place(
    redis_server: RedisServer, clickhouse: ClickHouseServer, tmp_path: Path, ledger: None
) -> AsyncIterator[Place]:
    tenant = f"t{uuid.uuid4().hex[:8]}"
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=redis_server.url, port=clickhouse.port, tenant=tenant)
    file.write_text(text)
    receiver = build_receiver(load(file, {}), allow_volatile_redis=False)
    receiver.durable = True
    token = await create(receiver.link, tenant, now_ms=Clock().now_ms())
    (tmp_path / "token").write_text(token.token)
    await leave_a_letter(LaneStore(receiver.link, tenant, "main"))
    runner = make_runner(receiver)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield Place(file, tenant, root, token.token, tmp_path / "token", receiver)
    await runner.cleanup()


async def leave_a_letter(store: LaneStore) -> None:
    held = await store.acquire(30_000)
    assert held is not None
    letter = Letter(
        id=f"{store}/ana",
        resource_type="User",
        resource_id="ana",
        name="ana@acme.example",
        seq_first=1,
        seq_last=1,
        code=497,
        error="Not enough privileges",
        attempts=1,
        first_ms=1,
        last_ms=1,
    )
    await store.acknowledge(held.epoch, Acknowledgement(cursor=0, letters={"ana": letter}))
    await store.release(held.epoch)


async def run(words: list[str]) -> int:
    """Run a command in a thread that has no event loop."""
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, main, words)


def with_config(words: list[str], config: Path) -> list[str]:
    """Name the configuration, and shorten what waits for a worker that is not there."""
    if words[0] in SERVING:
        return [words[0], "--help"]  # it would serve until it is stopped
    takes_none = {"check-config", "completion"}
    more = [] if words[0] in takes_none or "--as" in words else ["--config", str(config)]
    more += ["--deadline", "1"] * ("replay" in words and "--deadline" not in words)
    more += ["--yes"] * ("--as" in words and "--read-only" not in words)
    return [*words, *more]


@pytest.mark.parametrize("page", [p for p in GUIDES if commands(p)], ids=lambda p: p.name)
async def test_the_commands_of_a_guide_run_as_they_stand(
    page: Path, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ClientSession() as http:
        for line in commands(page):
            program, *words = place.filled(line)
            if program == "curl":
                await request(http, place, words)
                continue
            code = await run(with_config(words, place.config))
            printed = capsys.readouterr()
            said = (line, printed.out[-500:], printed.err[-500:])
            assert code in {0, 1}, said
            assert "bug:" not in printed.err, said
            assert "Traceback" not in printed.err, said


async def request(http: ClientSession, place: Place, words: list[str]) -> None:
    """Send what a line of curl sends; it is answered as done."""
    url = next(word for word in words if word.startswith("$BASE")).replace("$BASE", place.base)
    data = words[words.index("-d") + 1] if "-d" in words else None
    headers = dict(
        word.replace("$TOKEN", place.token).split(": ", 1)
        for at, word in enumerate(words)
        if words[at - 1] == "-H"
    )
    body: Any = None if data is None else json.dumps(json.loads(data)).encode()
    method = "GET" if body is None else "POST"
    async with http.request(method, url, data=body, headers=headers) as reply:
        assert reply.status in {200, 201}, await reply.text()


@pytest.mark.parametrize("page", [p for p in GUIDES if blocks(p, "sql")], ids=lambda p: p.name)
async def test_the_statements_of_a_guide_are_taken_by_clickhouse(
    page: Path, clickhouse: ClickHouseServer, ledger: None
) -> None:
    pool = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
    async with pool.session() as session:
        await session.query("CREATE USER IF NOT EXISTS `ana@acme.example`")
        for block in blocks(page, "sql"):
            for statement in filter(str.strip, block.split(";\n")):
                # Pages make what another page, or an earlier test, has made already.
                again = re.sub(
                    r"CREATE (USER|DATABASE) (?!IF)", r"CREATE \1 IF NOT EXISTS ", statement
                )
                await session.query(again)
    await pool.close()


TABLES = [
    pytest.param(block, id=f"{page.name} {number}")
    for page in GUIDES
    for number, block in enumerate(blocks(page, "toml"))
]


@pytest.mark.parametrize("block", TABLES)
def test_the_tables_of_a_guide_are_a_configuration(block: str, tmp_path: Path) -> None:
    (tmp_path / "provisioner.password").write_text("x")
    tenants = set(re.findall(r"^\[+tenants\.(\w+)", block, re.MULTILINE))
    whole = block
    if "[redis]" not in block:
        whole = HEAD + block
        for tenant in tenants:
            if f"[tenants.{tenant}]\n" not in block:
                whole += f'\n[tenants.{tenant}]\ntargets = ["main"]\n'
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(whole)
    assert set(load(file, {}).tenants) == tenants
