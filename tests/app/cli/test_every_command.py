"""Every command as somebody new tries it: wrong usage or configuration, nobody there, no rights.

A new command falls into these tests by itself; `GIVEN` has a word for each kind of argument.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from app.cli.main import cli, main
from app.sandbox.ports import choose_ports
from workers.clickhouse.pool import Endpoint, Pool

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

FILE = """
[redis]
url = "redis://127.0.0.1:{redis}/0"
[targets.main]
hosts = ["127.0.0.1:{clickhouse}"]
connect_seconds = 1.0
[tenants.acme]
targets = ["main"]
"""
BROKEN = (
    '[redis]\nurl = "mysql://x"\n[targets.main]\nhots = []\n[tenants.acme]\ntargets = ["man"]\n'
)
GIVEN = {
    "tenant": "acme",
    "target": "main",
    "token_id": "0f3a9c2b41de",
    "letter_id": "acme/main/2819c223",
    "letter_ids": "acme/main/2819c223",
    "words": "acme ana@acme.example",
    "user": "ana@acme.example",
    "user_name": "ana@acme.example",
    "name": "ana@acme.example",
    "names": "ana@acme.example",
    "role": "analyst",
    "--reason": "because",
    "--port": "0",
}
# They serve until they are stopped, or bring servers of their own.
SERVING = {"receiver", "worker", "sandbox", "demo", "clickhouse-sandbox"}


def leaves(
    command: click.Command = cli, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if not isinstance(command, click.Group):
        yield words, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        part = command.get_command(context, name)
        assert part is not None
        yield from leaves(part, (*words, name))


LEAVES = {" ".join(words): command for words, command in leaves()}
WITH_CONFIG = [
    name
    for name, command in LEAVES.items()
    if any("--config" in one.opts for one in command.params) and name.split()[0] not in SERVING
]


def arguments(name: str) -> list[str]:
    """Return the command's words and everything that it needs to be right."""
    given = name.split()
    for one in LEAVES[name].params:
        if isinstance(one, click.Argument):
            wanted = one.required or one.nargs == -1 or one.name in {"tenant", "target"}
            if wanted and one.name is not None:
                given += GIVEN[one.name].split()
        elif one.required:
            given += [one.opts[0], *GIVEN.get(one.opts[0], "").split()]
        elif "--yes" in one.opts:
            given.append("--yes")
        elif "--deadline" in one.opts:
            given += ["--deadline", "2"]
    return given


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run it in a thread without an event loop; return code, stdout and stderr."""
    capsys.readouterr()
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(main, words).result()
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def check_told(code: int, out: str, err: str, *, codes: set[int]) -> None:
    """Exit codes as written; errors are lines for people, and no bug and no traceback."""
    assert code in codes, out + err
    assert "Traceback" not in out + err
    assert "bug:" not in err, err
    if code:
        assert out or err, "it fails without a word"
    for line in err.splitlines():
        assert len(line) > 10, err


@pytest.mark.parametrize("name", LEAVES)
def test_wrong_usage_is_one_line_and_exit_code_2(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run([*name.split(), "--no-such-option"], capsys)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"Try `clickhouse-scim {name} --help`." in err


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_wrong_configuration_is_told_line_by_line_and_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(BROKEN)
    code, out, err = run([*arguments(name), "--config", str(file)], capsys)
    check_told(code, out, err, codes={2})
    assert {"redis.url", "targets.main.hots", "tenants.acme.targets"} <= {
        line.partition(": ")[0].partition("[")[0] for line in err.splitlines()
    }


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_a_missing_configuration_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none.toml"
    code, out, err = run([*arguments(name), "--config", str(file)], capsys)
    check_told(code, out, err, codes={2})
    assert str(file) in err


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_without_redis_and_without_a_target_it_says_so(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = choose_ports(["redis", "clickhouse"], {}, random.Random())
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(FILE.format(redis=ports["redis"], clickhouse=ports["clickhouse"]))
    code, out, err = run([*arguments(name), "--config", str(file)], capsys)
    check_told(code, out, err, codes={0, 1, 2})
    if code == 1 and not out:
        assert "127.0.0.1" in err or "Redis" in err, err


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_without_a_target_it_says_so(
    name: str, tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = choose_ports(["clickhouse"], {}, random.Random())
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(FILE.format(redis=redis_server.port, clickhouse=ports["clickhouse"]))
    code, out, err = run([*arguments(name), "--config", str(file)], capsys)
    check_told(code, out, err, codes={0, 1, 2})


@pytest.fixture
def powerless(tmp_path: Path, redis_server: RedisServer, clickhouse: ClickHouseServer) -> Path:
    """A configuration whose account may log in on the target, and nothing else."""
    name = f"powerless_{uuid.uuid4().hex[:8]}"

    async def make() -> None:
        pool = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
        async with pool.session() as session:
            await session.query(f"CREATE USER {name} IDENTIFIED WITH no_password")
        await pool.close()

    asyncio.run(make())
    file = tmp_path / "clickhouse-scim.toml"
    text = FILE.format(redis=redis_server.port, clickhouse=clickhouse.port)
    file.write_text(text.replace("connect_seconds", f'user = "{name}"\nconnect_seconds'))
    return file


@pytest.mark.parametrize("name", WITH_CONFIG)
def test_without_rights_on_a_target_it_says_so(
    name: str, powerless: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run([*arguments(name), "--config", str(powerless)], capsys)
    check_told(code, out, err, codes={0, 1, 2})


@pytest.mark.parametrize(
    "name", [n for n in WITH_CONFIG if any("--json" in one.opts for one in LEAVES[n].params)]
)
def test_json_is_json_or_nothing(
    name: str, tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ports = choose_ports(["clickhouse"], {}, random.Random())
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(FILE.format(redis=redis_server.port, clickhouse=ports["clickhouse"]))
    code, out, err = run([*arguments(name), "--json", "--config", str(file)], capsys)
    check_told(code, out, err, codes={0, 1, 2})
    if code == 0:
        assert isinstance(json.loads(out), list | dict)
    elif out:
        json.loads(out)
