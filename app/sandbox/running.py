"""A sandbox of one's own: started as people start it, asked through its public surfaces only."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from app.errors import ClickHouseScimError

# The command by the interpreter that runs this, so that no PATH can lead to another installation;
# -P: nor can an `app` in the working directory.
PROGRAM = (sys.executable, "-P", "-m", "app.cli.main")

START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 10.0
COMMAND_DEADLINE_S = 60.0
_POLL_S = 0.05
_LINE_BYTES = 1 << 24  # thousands of tenants have a token each in it


class Endpoint(msgspec.Struct, frozen=True):
    base_url: str
    token: str


class Line(msgspec.Struct, frozen=True):
    """What `sandbox --json` prints when everything answers."""

    scim: dict[str, Endpoint]
    clickhouse: dict[str, str]
    redis: str
    metrics: str
    config: str
    pids: dict[str, Any] = {}


class LaneState(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `lane list --json`, as far as it is needed here."""

    tenant: str
    target: str
    state: str
    last_seq: int
    applied_seq: int
    dead_letters: int
    last_error: str | None = None


class SandboxFailed(ClickHouseScimError):
    """The sandbox did not come up, or a command said something else than it should."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox, known by its line; it may have been started by somebody else."""

    line: Line

    async def command(self, *arguments: str) -> Outcome:
        """Run `clickhouse-scim ARGUMENTS --config …`; return how it ended."""
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            *arguments,
            "--config",
            self.line.config,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(COMMAND_DEADLINE_S):
                stdout, stderr = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Outcome(process.returncode or 0, stdout.decode(), stderr.decode())

    async def command_json(self, *arguments: str) -> Any:
        """Return the JSON that a command prints; raise SandboxFailed if it fails."""
        outcome = await self.command(*arguments, "--json")
        if outcome.code:
            raise SandboxFailed(f"`{' '.join(arguments)}` failed: {outcome.stderr.strip()}")
        return msgspec.json.decode(outcome.stdout)

    async def lanes(self, tenant: str) -> list[LaneState]:
        rows = msgspec.convert(await self.command_json("lane", "list"), list[LaneState])
        return [row for row in rows if row.tenant == tenant]

    async def wait_applied(self, tenant: str, seq: int, deadline_s: float) -> list[LaneState]:
        """Return the tenant's lanes once each has applied `seq`; raise SandboxFailed after that."""
        until = time.monotonic() + deadline_s
        while True:
            lanes = await self.lanes(tenant)
            if lanes and all(lane.applied_seq >= seq for lane in lanes):
                return lanes
            if time.monotonic() > until:
                raise SandboxFailed(f"event {seq} of {tenant} is not applied everywhere: {lanes}")
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def start(data_dir: Path, *arguments: str) -> AsyncIterator[Sandbox]:
    """Run `clickhouse-scim sandbox --json` with its data in `data_dir` for as long as this is open.

    Its messages go to `data_dir/sandbox.log`. It gets a session of its own: Ctrl-C reaches the
    caller alone, who ends it in order.
    """
    log = data_dir / "sandbox.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *PROGRAM,
            "sandbox",
            "--json",
            "--data-dir",
            str(data_dir),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            limit=_LINE_BYTES,
        )
    try:
        yield Sandbox(await _first_line(process, log))
    finally:
        await _stop(process)


async def _first_line(process: asyncio.subprocess.Process, log: Path) -> Line:
    if process.stdout is None:
        raise AssertionError("stdout is a pipe")
    text = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_DEADLINE_S):
            text = await process.stdout.readline()
    if not text:
        _did_not_start(log)
    try:
        return msgspec.json.decode(text, type=Line)
    except msgspec.DecodeError as error:
        raise SandboxFailed(f"the sandbox printed no line of JSON: {error}") from error


def _did_not_start(log: Path) -> NoReturn:
    said = log.read_text(errors="replace").strip().splitlines()[-5:]
    raise SandboxFailed("the sandbox did not start; it said: " + " | ".join(said or ["nothing"]))


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End the sandbox, which takes its children with it; with force after the deadline."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
