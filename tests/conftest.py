"""Servers that many tests share. Each pytest-xdist worker process has its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """A sandbox server, as `default` with an empty password. `start` after `stop` is a restart.

    `pid` is that of the process that runs now; it changes with each start.
    """

    host: str
    port: int
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
        self._process.append(_launch(self.port, self.data_dir))
        _wait_until_ready(self._process[-1])


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    data_dir = tmp_path_factory.mktemp("clickhouse")
    process = _launch(0, data_dir)
    server = ClickHouseServer("127.0.0.1", _wait_until_ready(process), data_dir, [process])
    yield server
    server.stop()


def _launch(port: int, data_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app.sandbox.clickhouse", "--port", str(port)]
    return subprocess.Popen(
        [*command, "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _wait_until_ready(process: subprocess.Popen[str]) -> int:
    """Return its port once its readiness line is there; it prints nothing before that."""
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"ready on .*:(\d+)", line)
    assert found, f"the sandbox server did not start: {line!r}"
    return int(found[1])
