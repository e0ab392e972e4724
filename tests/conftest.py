"""Servers that many tests share. Each pytest-xdist worker process has its own."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings

from app.child import die_with
from app.sandbox.ports import choose_ports
from app.sandbox.redis import find_redis, redis_program

REDIS_STARTS_S = 10.0

# A law is tried with more examples where nobody waits for it: `CI=1 make test`.
settings.register_profile("desk", deadline=None, max_examples=25)
settings.register_profile("ci", deadline=None, max_examples=100)
settings.load_profile("ci" if os.environ.get("CI") else "desk")


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """A sandbox server, as `default` with an empty password. `start` after `stop` is a restart.

    `pid` is that of the process that runs now; it changes with each start. `http_port`: of its HTTP
    interface. `control_port`: where a test asks it to fail (docs/sandbox.md).
    """

    host: str
    port: int
    http_port: int
    control_port: int
    data_dir: Path
    _process: list[subprocess.Popen[str]]

    @property
    def pid(self) -> int:
        return self._process[-1].pid

    def stop(self) -> None:
        """Kill it with SIGKILL, as a crash would."""
        process = self._process[-1]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()

    def start(self) -> None:
        """Start it again on its port and its data; returns when it answers."""
        self._process.append(_launch(self.data_dir, self.port, self.http_port, self.control_port))
        _wait_until_ready(self._process[-1])


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    data_dir = tmp_path_factory.mktemp("clickhouse")
    process = _launch(data_dir)
    ports = _wait_until_ready(process)
    server = ClickHouseServer("127.0.0.1", *ports, data_dir, [process])
    yield server
    server.stop()


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[ClickHouseServer]:
    """A ClickHouse for one test, which may stop and start it."""
    process = _launch(tmp_path / "clickhouse")
    server = ClickHouseServer(
        "127.0.0.1", *_wait_until_ready(process), tmp_path / "clickhouse", [process]
    )
    yield server
    server.stop()


def _launch(
    data_dir: Path, port: int = 0, http_port: int = 0, control_port: int = 0
) -> subprocess.Popen[str]:
    ports = ["--port", port, "--http-port", http_port, "--control-port", control_port]
    command = [sys.executable, "-m", "app.sandbox.clickhouse", *map(str, ports)]
    return subprocess.Popen(
        [*command, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_until_ready(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Return its port, HTTP port and control port once it says them, a line each."""
    assert process.stdout is not None
    lines = "".join(process.stdout.readline() for _ in range(3))
    found = dict(re.findall(r"(ready|http|control) on \S*:(\d+)", lines))
    assert len(found) == 3, f"the sandbox server did not start: {lines!r}"
    return int(found["ready"]), int(found["http"]), int(found["control"])


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A Redis that acknowledges what is on disk (AOF, `appendfsync always`, no eviction).

    `start` after `stop` is a restart after a crash: same port, same data, another `pid`.
    `settings` go to the server over the ones above, at each start: `--name`, value.
    """

    port: int
    data_dir: Path
    settings: tuple[str, ...] = ()
    _process: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._process[-1].pid

    def stop(self) -> None:
        """Kill it with SIGKILL, as a crash would; nothing happens if it is not running."""
        self._process[-1].kill()
        self._process[-1].wait()

    def start(self) -> None:
        """Start it; returns when it answers a PING, so it has read its file by then."""
        program = redis_program(find_redis(), self.port, self.data_dir, self.data_dir / "log")
        with (self.data_dir / "log").open("ab") as log:
            process = subprocess.Popen(
                [*program.arguments, *self.settings],
                cwd=self.data_dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - no other thread forks here
            )
        self._process.append(process)
        until = time.monotonic() + REDIS_STARTS_S
        while not self._answers():
            said = (self.data_dir / "log").read_text()[-500:]
            assert process.poll() is None, f"Redis ended: {said}"
            assert time.monotonic() < until, f"Redis does not answer: {said}"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        return False


def start_redis(data_dir: Path, *settings: str) -> RedisServer:
    """Return a running server on a free port; the caller stops it."""
    port = choose_ports(["redis"], {}, random.Random())["redis"]
    server = RedisServer(port, data_dir, settings)
    server.start()
    return server


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that all tests of a process share: none may stop it, each uses tenants of its own."""
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for one test, which may stop, start and break it."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = start_redis(folder)
    yield server
    server.stop()
