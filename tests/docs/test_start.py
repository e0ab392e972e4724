"""docs/start.md, followed to the letter: each block in its order, by a shell, on servers as found.

Only where things are differs: ports, and a token that the page can't know. Installing is what the
test of the image's steps does; containers can't be run here.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from app.sandbox.ports import choose_ports
from workers.clickhouse.pool import Endpoint, Pool

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "start.md"
DEADLINE_S = 120.0
END = "(the end of what was typed)"
ELSEWHERE = ("python3 -m venv", "/opt/clickhouse-scim/bin/pip", "export PATH=", "docker")
SERVING = {"clickhouse-scim receiver", "clickhouse-scim worker"}
REDIS_CLI = """#!{python}
import sys, redis
try:
    print(redis.Redis(port={port}).execute_command(*sys.argv[1:]))
except redis.ResponseError as error:
    print("(error)", error)
"""


def blocks() -> Iterator[tuple[str, str]]:
    """Yield the page's blocks in order: language and text, `sh` for a line of a shell."""
    pattern = r"^```(\w+)\n(.*?)^```$|^ {4}(\S[^\n]*)$"
    for found in re.finditer(pattern, PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        yield (found[1], found[2]) if found[1] else ("sh", found[3])


@dataclass(slots=True)
class Newcomer:
    """Somebody at a shell, in a folder of their own. `said`: what the last line printed; `code`:
    how it ended.
    """

    folder: Path
    environ: dict[str, str]
    admin: Pool
    here: Callable[[str], str]
    shell: asyncio.subprocess.Process
    serving: list[asyncio.subprocess.Process] = field(default_factory=list)
    said: str = ""
    code: int = 0
    token: str = ""

    async def follow(self, language: str, text: str) -> None:
        self.code = 0
        match language:
            case "sh" if text in SERVING:
                await self._serve(text)
            case "sh" if not text.startswith(ELSEWHERE):
                await self._type(self.here(text))
            case "sql":
                self.said = await self._run(text)
            case "toml":
                (self.folder / "clickhouse-scim.toml").write_text(self.here(text))

    async def _serve(self, line: str) -> None:
        """Run it in a terminal of its own."""
        child = await asyncio.create_subprocess_exec(
            *line.split(),
            cwd=self.folder,
            env=self.environ,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self.serving.append(child)

    async def _type(self, line: str) -> None:
        if line == "TOKEN=chscim_…":
            line = f"TOKEN={self.token}"
        stdin, stdout = self.shell.stdin, self.shell.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(
            f"{{ {line}\n}} 2>&1 </dev/null; ENDED=$?; echo; echo '{END}' $ENDED\n".encode()
        )
        await stdin.drain()
        self.said = ""
        async with asyncio.timeout(DEADLINE_S):
            while END not in (read := (await stdout.readline()).decode()):
                self.said += read
        self.code = int(read.split()[-1])
        if printed := re.findall(r"^token +(chscim_\w+)$", self.said, re.MULTILINE):
            self.token = printed[0]
            (self.folder / "token").write_text(self.token)
        if line.startswith("clickhouse-scim provisioner-grants"):
            await self._run(self.said)  # as the page says

    async def _run(self, text: str) -> str:
        rows: list[str] = []
        async with self.admin.session() as session:
            for statement in filter(str.strip, text.split(";\n")):
                rows += [str(row) for row in await session.query(statement)]
        return "\n".join(rows)


@pytest.fixture
async def newcomer(
    own_redis: RedisServer, own_clickhouse: ClickHouseServer, tmp_path: Path
) -> AsyncIterator[Newcomer]:
    own_redis.stop()
    careless = ("--appendonly", "no", "--appendfsync", "no", "--maxmemory-policy", "allkeys-lru")
    redis = type(own_redis)(own_redis.port, own_redis.data_dir, careless)
    redis.start()
    port = choose_ports(["receiver"], {}, random.Random())["receiver"]
    programs = tmp_path / "bin"
    programs.mkdir()
    shim = programs / "redis-cli"
    shim.write_text(REDIS_CLI.format(python=sys.executable, port=redis.port))
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()

    def here(text: str) -> str:
        return (
            text.replace("127.0.0.1:6379", f"127.0.0.1:{redis.port}")
            .replace("127.0.0.1:9000", f"127.0.0.1:{own_clickhouse.port}")
            .replace("127.0.0.1:8080", f"127.0.0.1:{port}")
            .replace("https://HOST/scim/TENANT/v2", f"http://127.0.0.1:{port}/scim/acme/v2")
            .replace("--token-file FILE", "--token-file token")
        )

    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    environ = os.environ | {"PATH": path, "CLICKHOUSE_SCIM__RECEIVER__PORT": str(port)}
    admin = Pool(Endpoint(hosts=((own_clickhouse.host, own_clickhouse.port),), user="default"))
    shell = await asyncio.create_subprocess_exec(
        "bash", cwd=folder, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    made = Newcomer(folder, environ, admin, here, shell)
    yield made
    for child in (shell, *made.serving):
        child.terminate()
        await child.wait()
    await admin.close()
    redis.stop()


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, "the page's promise did not come true"
        await asyncio.sleep(0.1)


async def test_a_newcomer_who_follows_the_page_has_a_first_user(newcomer: Newcomer) -> None:
    for language, text in blocks():
        if text.startswith("clickhouse-scim lane list"):
            await until(lambda: applied(newcomer) == 2)
        await newcomer.follow(language, text)
        lacks_token = text == "clickhouse-scim doctor"  # it comes later on the page
        assert newcomer.code == lacks_token, (text, newcomer.said)
        if lacks_token:
            (wrong,) = [line for line in newcomer.said.splitlines() if line.startswith(" fail")]
            assert "it has no token" in wrong
        elif text == "clickhouse-scim worker":
            await until(lambda: answers(newcomer.here("http://127.0.0.1:8080/healthz")))
        elif text.startswith("SHOW GRANTS"):
            promised = re.findall(r"^That says ``(.*?) ``", PAGE.read_text("utf-8"), re.MULTILINE)
            assert [promised[0] in newcomer.said, len(promised)] == [True, 1], newcomer.said


def answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(url) as reply:
        return bool(reply.status == 200)
    return False


def applied(newcomer: Newcomer) -> int:
    listed = subprocess.run(
        ["clickhouse-scim", "lane", "list", "--json"],
        cwd=newcomer.folder,
        env=newcomer.environ,
        capture_output=True,
        check=True,
    )
    (lane,) = json.loads(listed.stdout)
    return int(lane["applied_seq"])
