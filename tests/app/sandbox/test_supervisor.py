"""The `sandbox` command as its users run it: started, hurt, stopped, started again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession
from redis.asyncio import Redis

from app.config.privileges import PRIVILEGES
from app.sandbox import servers
from app.sandbox.session import log_in

PROGRAM = [sys.executable, "-P", "-m", "app.cli.main", "sandbox"]
FILE = """
[targets.near]
[tenants.acme]
targets = ["near"]
default_roles = ["employee"]
[tenants.acme.authentication]
method = "no_password"
"""


class Running:
    """A sandbox command that has printed its line."""

    def __init__(self, process: asyncio.subprocess.Process, line: dict[str, Any]) -> None:
        self.process, self.line = process, line
        self.folder = Path(line["config"]).parent

    def pids(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "pids.json").read_text())
        return found

    def config(self) -> str:
        return Path(self.line["config"]).read_text()

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 10)

    async def create(self, user_name: str) -> int:
        """POST a user of acme; return the status."""
        place = self.line["scim"]["acme"]
        schema = "urn:ietf:params:scim:schemas:core:2.0:User"
        async with (
            ClientSession() as client,
            client.post(
                place["base_url"] + "/Users",
                headers={"Authorization": f"Bearer {place['token']}"},
                json={"schemas": [schema], "userName": user_name},
            ) as answer,
        ):
            return answer.status

    async def status(self, path: str = "/Users", tenant: str = "acme") -> int:
        place = self.line["scim"][tenant]
        headers = {"Authorization": f"Bearer {place['token']}"}
        try:
            async with (
                ClientSession() as client,
                client.get(place["base_url"] + path, headers=headers) as answer,
            ):
                return answer.status
        except OSError:
            return 0


async def start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*PROGRAM, *arguments, stdout=pipe, stderr=pipe)


@asynccontextmanager
async def sandbox(folder: Path, *arguments: str) -> AsyncIterator[Running]:
    process = await start("--json", "--data-dir", str(folder), *arguments)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        text = await asyncio.wait_for(process.stdout.readline(), 30)
        assert text, (await process.stderr.read()).decode()
        yield Running(process, json.loads(text))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def until(
    true: Callable[[], object] | Callable[[], Awaitable[object]], limit_s: float
) -> None:
    async with asyncio.timeout(limit_s):
        while True:
            result = true()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not collected yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def flat(pids: Any) -> Iterator[int]:
    if isinstance(pids, int):
        yield pids
    elif pids:
        for one in pids.values() if isinstance(pids, dict) else pids:
            yield from flat(one)


async def test_the_line_tells_where_everything_answers(tmp_path: Path) -> None:
    arguments = ("--tenants", "acme,a-b", "--targets", "2", "--workers", "2")
    async with sandbox(tmp_path / "data", *arguments) as running:
        line = running.line
        assert sorted(line) == [
            "clickhouse",
            "clickhouse_http",
            "config",
            "metrics",
            "pids",
            "redis",
            "scim",
        ]
        assert list(line["scim"]) == ["acme", "a-b"]
        assert list(line["clickhouse"]) == ["main", "second"]
        assert [await running.status(tenant=name) for name in line["scim"]] == [200, 200]
        async with aiohttp.ClientSession() as client:
            for url in line["clickhouse_http"].values():
                async with client.get(url, params={"query": "SELECT 1"}) as answer:
                    assert await answer.text() == "1\n"
        for url in line["clickhouse"].values():
            assert await servers.answers(url)
        async with Redis.from_url(line["redis"]) as redis, ClientSession() as client:
            assert await redis.ping()
            async with client.get(line["metrics"]) as answer:
                assert answer.status == 200
        pids = line["pids"]
        assert (len(pids["receiver"]), len(pids["worker"]), len(pids["clickhouse"])) == (1, 2, 2)
        assert pids["supervisor"] == running.process.pid
        assert all(map(is_alive, flat(pids)))
        assert await running.end() == 0
        assert not any(map(is_alive, flat(pids)))
        assert running.process.stdout is not None
        assert await running.process.stdout.read() == b""


async def test_it_runs_in_a_folder_that_has_an_app_and_a_config_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("app", "workers"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('another program')")
    (tmp_path / "config.xml").write_text("<clickhouse><path>/nowhere</path></clickhouse>")
    monkeypatch.chdir(tmp_path)
    async with sandbox(tmp_path / 'it\'s a "folder" é') as running:
        assert await running.status() == 200
        assert await running.create("ana@acme.example") == 201

        async def is_there() -> bool:
            async with log_in(running.line["clickhouse"]["main"]) as session:
                return bool(await session.rows("SELECT 1 FROM system.users WHERE name LIKE 'ana%'"))

        await until(is_there, 10)


async def test_secrets_are_the_owners_alone(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        token = running.line["scim"]["acme"]["token"]
        open_to_others = [
            path
            for path in running.folder.rglob("*")
            if path.is_file() and path.suffix in {".toml", ".json", ".password"}
            if path.stat().st_mode & 0o077
        ]
        assert open_to_others == []
        assert running.folder.stat().st_mode & 0o077 == 0
        assert token not in (running.folder / "clickhouse-scim.toml").read_text()
        async with Redis.from_url(running.line["redis"]) as redis:
            for key in await redis.keys("*tokens*"):
                assert token.rpartition("_")[2] not in str(await redis.hgetall(key))


async def test_ports_tokens_and_data_survive_a_restart(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        first = running.line
        async with Redis.from_url(first["redis"]) as redis:
            await redis.set("kept", "1")
        url = first["clickhouse"]["main"]
        await servers.run_statements(url, ["CREATE ROLE kept"])
        assert await running.end(signal.SIGINT) == 0
    async with sandbox(tmp_path / "data") as running:
        assert {key: running.line[key] for key in first if key != "pids"} == {
            key: first[key] for key in first if key != "pids"
        }
        assert await running.status() == 200
        async with Redis.from_url(first["redis"]) as redis:
            assert await redis.get("kept") == b"1"
        await servers.run_statements(url, ["ALTER ROLE kept"])  # 511 if it were gone


async def test_a_token_that_redis_lost_is_made_anew(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        old = running.line["scim"]["acme"]["token"]
    shutil.rmtree(tmp_path / "data" / "redis")
    async with sandbox(tmp_path / "data") as running:
        assert running.line["scim"]["acme"]["token"] != old
        assert await running.status() == 200


@pytest.mark.parametrize("own_file", [True, False], ids=["with a file", "without"])
async def test_overrides_in_the_environment_end_at_the_sandbox(
    own_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They go into the file that it writes; but Redis and ports are its own."""
    monkeypatch.setenv("CLICKHOUSE_SCIM__REDIS__URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("CLICKHOUSE_SCIM__RECEIVER__PORT", "1")
    monkeypatch.setenv("CLICKHOUSE_SCIM__TENANTS__ACME__ON_DELETE", "lock")
    file = tmp_path / "own.toml"
    file.write_text(FILE + "[redis]\n")
    arguments = ("--config", str(file)) if own_file else ()
    async with sandbox(tmp_path / "data", *arguments) as running:
        assert await running.status() == 200
        assert tomllib.loads(running.config())["tenants"]["acme"]["on_delete"] == "lock"


@pytest.mark.parametrize("kind", ["redis", "receiver", "worker", "clickhouse"])
async def test_a_killed_child_comes_back_on_its_port(kind: str, tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        (pid,) = flat({kind: running.pids()[kind]})
        os.kill(pid, signal.SIGKILL)
        await until(lambda: list(flat(running.pids()[kind])) not in ([], [pid]), 5)
        url = running.line["clickhouse"]["main"]

        async def answers() -> bool:
            return await servers.answers(url) and await running.status() == 200

        await until(answers, 15)
        assert running.process.returncode is None
        others = {name: ids for name, ids in running.pids().items() if name != kind}
        assert others == {name: ids for name, ids in running.line["pids"].items() if name != kind}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
async def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        pids = list(flat(running.pids()))
        assert len(pids) == 5
        await running.end(signal.SIGKILL)
        await until(lambda: not any(map(is_alive, pids)), 5)
    async with sandbox(tmp_path / "data") as again:  # what it left behind is no obstacle
        assert again.line["scim"] == running.line["scim"]
        assert await again.status() == 200


async def test_two_sandboxes_never_share_a_data_directory(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        second = await start("--json", "--data-dir", str(running.folder))
        out, err = await asyncio.wait_for(second.communicate(), 10)
        assert (second.returncode, out, err.count(b"\n")) == (1, b"", 1)
        assert b"in use by another sandbox" in err
        assert await running.status() == 200


async def test_a_taken_port_is_replaced(tmp_path: Path) -> None:
    async with sandbox(tmp_path / "data") as running:
        first = running.line
    other = await asyncio.start_server(lambda *_: None, "127.0.0.1", int(first["redis"][-7:-2]))
    async with other, sandbox(tmp_path / "data") as running:
        assert running.line["redis"] != first["redis"]
        assert running.line["clickhouse"] == first["clickhouse"]
        assert await running.status() == 200


async def test_a_files_tenants_get_servers_for_targets_without_hosts(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    async with sandbox(tmp_path / "data", "--config", str(file)) as running:
        assert list(running.line["scim"]) == ["acme"]
        assert list(running.line["clickhouse"]) == ["near"]
        written = tomllib.loads(running.config())
        assert written["redis"]["url"] == running.line["redis"]
        assert written["tenants"]["acme"]["default_roles"] == ["employee"]


async def test_a_target_gets_as_many_servers_as_the_file_says(tmp_path: Path) -> None:
    """Each node of a replicated storage holds what a worker gave to one of them."""
    file = tmp_path / "own.toml"
    file.write_text(FILE.replace("[targets.near]", "[targets.near]\nsandbox_nodes = 2"))
    async with sandbox(tmp_path / "data", "--config", str(file)) as running:
        urls = running.line["clickhouse"]
        assert list(urls) == ["near", "near-2"]
        hosts = tomllib.loads(running.config())["targets"]["near"]["hosts"]
        assert hosts == [url.partition("@")[2].removesuffix("/default") for url in urls.values()]
        assert await running.create("nodes@acme.example") == 201

        async def there(url: str) -> bool:
            async with log_in(url) as session:
                asked = "SELECT count() FROM system.users WHERE name = 'nodes@acme.example'"
                return await session.rows(asked) == [(1,)]

        for url in urls.values():
            await until(partial(there, url), 20)


async def test_sighup_takes_a_changed_file_over_and_a_broken_one_not(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(FILE)
    second = FILE.replace("near", "near2").replace("acme", "globex")
    async with sandbox(tmp_path / "data", "--config", str(file)) as running:
        before, pids = running.config(), running.pids()
        assert running.process.stderr is not None
        for broken, said in (
            (FILE + 'on_delet = "x"', b"configuration refused: tenants.acme"),
            (FILE + second, b"restart the sandbox"),
        ):
            file.write_text(broken)
            running.process.send_signal(signal.SIGHUP)
            assert said in await asyncio.wait_for(running.process.stderr.readline(), 10)
            assert running.config() == before
        globex = second.partition("[targets.near2]")[2].replace("near2", "near")
        own = 'marker_role = "scim_managed_globex"\nuser_name = "globex__{userName}"\n'
        acme = FILE.replace("targets = [", 'user_name = "acme__{userName}"\ntargets = [')
        globex = globex.replace("targets = [", f"{own}targets = [")
        file.write_text(acme + globex)
        running.process.send_signal(signal.SIGHUP)
        await until(lambda: "globex" in running.config(), 10)

        async def both_answer() -> bool:
            token = json.loads((running.folder / "tokens.json").read_text()).get("globex")
            base = running.line["scim"]["acme"]["base_url"].replace("acme", "globex")
            running.line["scim"]["globex"] = {"base_url": base, "token": token}
            return [await running.status(tenant=name) for name in ("acme", "globex")] == [200, 200]

        await until(both_answer, 10)
        assert running.pids() == pids


async def test_an_existing_server_is_used_and_left_running(
    tmp_path: Path, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log-in with a password, since a URL that somebody gives has one."""
    administrator = "clickhouse://root:it%27s@" + server_url.partition("@")[2]
    await servers.run_statements(
        server_url,
        [
            "CREATE USER root IDENTIFIED BY 'it\\'s'",
            f"GRANT {', '.join(PRIVILEGES)} ON *.* TO root WITH GRANT OPTION",
            "GRANT ACCESS MANAGEMENT, KILL QUERY ON *.* TO root WITH GRANT OPTION",
            "GRANT CREATE, DROP, ALTER ON *.* TO root WITH GRANT OPTION",
        ],
    )
    monkeypatch.setenv("CLICKHOUSE_URL", administrator)
    async with sandbox(tmp_path / "data") as running:
        assert running.line["clickhouse"] == {"main": administrator}
        assert running.line["pids"]["clickhouse"] == {"main": None}
        assert not (running.folder / "clickhouse").exists()
        assert await running.create("ana@acme.example") == 201

        async def is_there() -> bool:
            async with log_in(server_url) as session:
                return bool(await session.rows("SELECT 1 FROM system.users WHERE name LIKE 'ana%'"))

        await until(is_there, 10)
        files = [path for path in running.folder.rglob("*") if path.is_file()]
        assert not any(b"it%27s" in path.read_bytes() for path in files)
        assert await running.end() == 0
    assert await servers.answers(server_url)


FAKE_CLICKHOUSE = """#!/bin/sh
[ "$2" = --version ] && exec echo 'ClickHouse server version 25.8.1.1 (official build).'
folder=$(dirname "${2#--config-file=}")
port=$(sed -n 's|.*<tcp_port>\\(.*\\)</tcp_port>.*|\\1|p' "$folder/config.xml")
exec '%s' -m app.sandbox.clickhouse --port "$port" --data-dir "$folder/inside"
"""


async def test_a_clickhouse_on_path_is_run_in_place_of_the_sandbox_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "clickhouse"
    program.parent.mkdir()
    program.write_text(FAKE_CLICKHOUSE % sys.executable)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    async with sandbox(tmp_path / "data", "--targets", "2") as running:
        assert list(running.line["clickhouse"]) == ["main", "second"]
        for name, url in running.line["clickhouse"].items():
            assert await servers.answers(url)
            assert (running.folder / "clickhouse" / name / "inside").is_dir()


UNUSABLE = {
    "several targets": (
        "clickhouse://127.0.0.1:9000",
        ["--targets", "2"],
        "CLICKHOUSE_URL is one server, but main, second need one each; unset it, or run one target",
    ),
    "no server": (
        "http://root:secret@127.0.0.1:8123",
        [],
        "CLICKHOUSE_URL names no server: it should be clickhouse://USER:PASSWORD@HOST:PORT",
    ),
    "nobody there": ("clickhouse://root:secret@127.0.0.1:1", [], "ClickHouse at 127.0.0.1:1 did"),
}


@pytest.mark.parametrize(("url", "arguments", "said"), UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_an_existing_server_that_can_not_be_used_is_one_line(
    url: str, arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", url)
    process = await start("--json", "--data-dir", str(tmp_path / "data"), *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 15)
    assert (process.returncode, out) == (1, b"")
    (line,) = err.decode().splitlines()
    assert line.startswith(said)
    assert "secret" not in line


WRONG = {
    "tenant name": (["--tenants", "a_b"], "tenants.a_b: is no name of a tenant"),
    "no such file": (["--config", "/nowhere.toml"], "/nowhere.toml: can't be read"),
    "file and tenants": (["--config", "x", "--tenants", "b"], "--config FILE names tenants"),
    "tenant twice": (["--tenants", "a,a"], "--tenants names one twice"),
    "no target": (["--targets", "0"], "0 is not in the range"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
async def test_mistakes_start_nothing_and_exit_2(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    process = await start("--data-dir", str(tmp_path / "data"), *arguments)
    out, err = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, out) == (2, b"")
    assert said in err.decode()
    assert "Traceback" not in err.decode()


async def test_what_can_not_be_started_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "redis").write_text("a file where the folder belongs")
    process = await start("--json", "--data-dir", str(folder))
    out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out) == (1, b"")
    assert err.decode().splitlines() == [f"{folder / 'redis'}: File exists"]
    pids = flat(json.loads((folder / "pids.json").read_text()))
    assert not any(map(is_alive, pids))


async def test_sigterm_while_starting_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    process = await start("--json", "--data-dir", str(folder))
    await until((folder / "pids.json").exists, 10)
    pids = list(flat(json.loads((folder / "pids.json").read_text())))
    process.terminate()
    out, _ = await asyncio.wait_for(process.communicate(), 12)
    assert (process.returncode, out) == (0, b"")
    assert not any(map(is_alive, pids))


async def test_without_data_dir_everything_is_removed_at_the_end() -> None:
    process = await start("--json")
    assert process.stdout is not None
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: process.terminate() if process.returncode is None else None)
        line = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
        folder = Path(line["config"]).parent
        assert folder.is_dir()
    await asyncio.wait_for(process.communicate(), 12)
    assert not folder.exists()


async def test_a_person_is_told_what_to_try(tmp_path: Path) -> None:
    process = await start("--data-dir", str(tmp_path / "data"))
    assert process.stdout is not None
    try:
        text = (await asyncio.wait_for(process.stdout.readuntil(b"Ctrl-C"), 30)).decode()
    finally:
        process.terminate()
        await process.communicate()
    token = json.loads((tmp_path / "data" / "tokens.json").read_text())["acme"]
    assert f"-H 'Authorization: Bearer {token}'" in text
    assert "/scim/acme/v2/Users" in text
