"""The guides, executed: their commands on a running installation, their SQL on an engine, their
requests on a receiver, their tables as a configuration.

A page's commands run in their order, in a tenant of a running installation, which has a group,
two users and a dead letter. docs/start.md has a test of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from app.cli.main import main
from app.cli.options import this_program
from app.config.ledger import LedgerSettings
from app.config.load import load
from workers.clickhouse.pool import Endpoint, Pool
from workers.ledger.schema import migrate

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer

DOCS = Path(__file__).parents[2] / "docs"
SERVING = {"receiver", "worker", "sandbox"}
DEADLINE_S = 120.0
# Pages that tell how to install, run or look after it. The others are reference, but for the
# runbook, whose commands run in the drills of its alerts, and for the first ten minutes.
GUIDES = [
    page
    for page in sorted(DOCS.glob("*.md"))
    if page.name not in {"conformance.md", "sandbox.md", "configuration.md", "runbook.md"}
]

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


WITH_COMMANDS = [page for page in GUIDES if page.name != "start.md" and commands(page)]
# What a command can't do in a place where all is well, and says so.
PASSWORDS = {"SENTINEL_PASSWORD": "x"}
EXPECTED = {
    "clickhouse-scim directory rebuild": (1, "a rebuild is for an empty Redis"),
    "clickhouse-scim directory move": (1, "stop all receivers and workers"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant of a running installation, with a user, a group and a dead letter."""

    config: Path
    tenant: str
    base: str
    token: str
    token_file: Path
    letter: str

    @property
    def stranger(self) -> str:
        """The user on the target that somebody made by hand, and that a resource wants."""
        return f"{self.tenant}__bo@acme.example"

    def filled(self, line: str) -> list[str]:
        """Return the words of a command, with what stands for something filled in."""
        words = shlex.split(line, comments=True)
        about_token = "token" in words[1:3]
        known = {
            "TENANT": self.tenant,
            "acme": self.tenant,
            "TARGET": "main",
            "eu": "main",
            "FILE": str(self.token_file),
            "USER": "ana@acme.example",
            "ana@acme.example": self.stranger if words[1] == "adopt" else "ana@acme.example",
            "ID": self.token.split("_")[1] if about_token else self.letter,
            "clickhouse-scim.toml": str(self.config),
            "https://HOST/scim/TENANT/v2": self.base,
        }
        return [known.get(word, word) for word in words]

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return what the receiver answers to a GET, or to a POST of `body`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/scim+json",
        }
        with urlopen(Request(f"{self.base}{path}", data, headers)) as reply:
            assert reply.status in {200, 201}
            return json.load(reply)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Receiver, worker, Redis, target and ledger, with a tenant for each page."""
    tenants = ",".join(page.stem for page in WITH_COMMANDS)
    folder = tmp_path_factory.mktemp("installation")
    arguments = ("--json", "--tenants", tenants, "--data-dir", str(folder / "data"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            this_program("sandbox", *arguments), stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (folder / "log").read_text()
    yield json.loads(line)
    process.terminate()
    process.wait()
    process.stdout.close()


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    installation: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Place:
    page: Path = request.getfixturevalue("page")
    at = installation["scim"][page.stem]
    (tmp_path / "token").write_text(at["token"])
    made = Place(
        config=Path(installation["config"]),
        tenant=page.stem,
        base=at["base_url"],
        token=at["token"],
        token_file=tmp_path / "token",
        letter="",
    )
    make_by_hand(installation["clickhouse"]["main"], made.stranger)
    ana = made.ask("/Users", {"userName": "ana@acme.example"})["id"]
    made.ask("/Groups", {"displayName": "Data Analysts", "members": [{"value": ana}]})
    bo = made.ask("/Users", {"userName": "bo@acme.example"})["id"]
    of = ("--tenant", page.stem, "--json", "--config", str(made.config))
    for question in (("deadletter", "list"), ("audit", "events")):
        until = time.monotonic() + DEADLINE_S
        while not (main([*question, *of]) == 0 and json.loads(capsys.readouterr().out)):
            assert time.monotonic() < until, "nothing came of what was pushed"
            time.sleep(0.05)
    return replace(made, letter=f"{page.stem}/main/{bo}")


def make_by_hand(url: str, name: str) -> None:
    """Make a user on the target that is nobody's of ours."""

    async def make() -> None:
        pool = Pool(Endpoint(hosts=((parts.hostname or "", parts.port or 0),), user="default"))
        async with pool.session() as session:
            await session.query(f"CREATE USER IF NOT EXISTS `{name}`")
        await pool.close()

    parts = urlsplit(url)
    asyncio.run(make())


def with_config(words: list[str], config: Path) -> list[str]:
    """Name the configuration, and say yes in the place of somebody at a terminal."""
    if words[0] in SERVING:
        return [words[0], "--help"]  # it would serve until it is stopped
    takes_none = {"check-config", "completion"}
    more = [] if words[0] in takes_none or "--as" in words else ["--config", str(config)]
    more += ["--yes"] * ("--as" in words and "--read-only" not in words)
    return [*words, *more]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda p: p.name)
def test_the_commands_of_a_guide_do_what_they_are_there_for(
    page: Path, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for line in commands(page):
        program, *words = place.filled(line)
        if program == "curl":
            request_of(place, words)
            continue
        capsys.readouterr()
        code = main(with_config(words, place.config))
        printed = capsys.readouterr()
        said = (line, printed.out[-1000:], printed.err[-1000:])
        wanted = next((one for start, one in EXPECTED.items() if line.startswith(start)), (0, ""))
        assert code == wanted[0], said
        assert wanted[1] in printed.err, said
        assert code or printed.out, said


def request_of(place: Place, words: list[str]) -> None:
    """Send what a line of curl sends; it is answered as done."""
    url = next(word for word in words if word.startswith("$BASE"))
    headers = {words[at] for at in range(len(words)) if words[at - 1] == "-H"}
    assert "Authorization: Bearer $TOKEN" in headers
    body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
    place.ask(url.removeprefix("$BASE"), body)


@pytest.fixture
async def ledger(clickhouse: ClickHouseServer) -> None:
    """The ledger's tables, in the database that pages name."""
    await migrate(LedgerSettings(url=f"clickhouse://default@127.0.0.1:{clickhouse.port}/scim"))


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
    if "[redis]" in block and not tenants:
        tenants = {"acme"}
        whole += HEAD[HEAD.index("[targets") :] + '[tenants.acme]\ntargets = ["main"]\n'
    elif "[redis]" not in block:
        whole = HEAD + block
        for tenant in tenants:
            if f"[tenants.{tenant}]\n" not in block:
                whole += f'\n[tenants.{tenant}]\ntargets = ["main"]\n'
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(whole)
    assert set(load(file, PASSWORDS).tenants) == tenants
