from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.child import Child, Program, die_with

IGNORES_SIGTERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " print('ready', flush=True); time.sleep(600)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def until(true: Callable[[], object], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not true():  # noqa: ASYNC110 - another process tells no event
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that is dead and not collected yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@asynccontextmanager
async def running(child: Child) -> AsyncIterator[asyncio.Task[int]]:
    task = asyncio.create_task(child.run())
    try:
        yield task
    finally:
        await child.stop(1)
        await task


async def test_a_killed_child_is_started_again_at_once() -> None:
    said: list[str] = []
    child = Child(Program(name="one", arguments=["sleep", "600"]), say=said.append)
    async with running(child):
        await until(lambda: child.pid)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.pid not in {None, first}, deadline_s=2)
    assert said == ["one was killed by SIGKILL; starts again"]
    assert child.pid is None


async def test_the_pause_grows_with_each_quick_death() -> None:
    said: list[str] = []
    child = Child(Program(name="one", arguments=python("raise SystemExit(3)")), say=said.append)
    async with running(child):
        await until(lambda: len(said) == 4)
    assert said == [
        "one ended with exit code 3; starts again",
        "one ended with exit code 3; starts again in 0.1 s",
        "one ended with exit code 3; starts again in 0.2 s",
        "one ended with exit code 3; starts again in 0.4 s",
    ]


async def test_each_start_and_end_is_told() -> None:
    pids: list[int | None] = []
    child: Child
    child = Child(
        Program(name="one", arguments=["sleep", "600"]),
        say=lambda _: None,
        changed=lambda: pids.append(child.pid),
    )
    async with running(child):
        await until(lambda: child.pid)
    assert len(pids) == 2
    assert pids[0] is not None
    assert pids[1] is None


async def test_a_final_exit_code_is_returned() -> None:
    child = Child(
        Program(name="one", arguments=python("raise SystemExit(2)")),
        say=lambda _: None,
        final=frozenset({2}),
    )
    assert await asyncio.wait_for(child.run(), 10) == 2


async def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    said: list[str] = []
    log = tmp_path / "log"
    program = Program(name="one", arguments=python(IGNORES_SIGTERM), log=log)
    child = Child(program, say=said.append)
    async with running(child) as task:
        await until(lambda: log.exists() and log.read_text())
        await child.stop(0.2)
        assert await task == -signal.SIGKILL
    assert said == ["one did not stop within 0.2 s: killed"]


async def test_stopping_between_two_starts_starts_nothing_more() -> None:
    said: list[str] = []
    child = Child(Program(name="one", arguments=python("raise SystemExit(3)")), say=said.append)
    task = asyncio.create_task(child.run())
    await until(lambda: len(said) == 5)  # in the pause of 0.8 s
    started = time.monotonic()
    await child.stop()
    assert await task == 3
    assert time.monotonic() - started < 0.5
    assert len(said) == 5


async def test_a_signal_to_reread_does_not_end_a_child_that_has_no_handler_yet() -> None:
    said: list[str] = []
    child = Child(Program(name="one", arguments=["sleep", "600"]), say=said.append)
    async with running(child):
        await until(lambda: child.pid)
        child.send(signal.SIGHUP)
        child.send(signal.SIGKILL)  # signals that are pending are taken in order of number
        await until(lambda: said)
    assert said == ["one was killed by SIGKILL; starts again"]


async def test_output_and_environment_are_the_programs_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os; print(os.getcwd(), os.environ.get('A'), os.environ.get('HOME'))"
    program = Program(
        name="one", arguments=python(code), log=log, folder=tmp_path, environ={"A": "1"}
    )
    child = Child(program, say=lambda _: None, final=frozenset({0}))
    assert await asyncio.wait_for(child.run(), 10) == 0
    assert log.read_text() == f"{tmp_path} 1 None\n"


PARENT = """
import asyncio, sys
from app.child import Child, Program

async def main():
    child = Child(Program(name="one", arguments=["sleep", "600"]), say=print)
    task = asyncio.create_task(child.run())
    while child.pid is None:
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await task

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
async def test_children_die_with_a_killed_parent() -> None:
    parent = subprocess.Popen(  # noqa: ASYNC220 - as a shell would start it
        python(PARENT), stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        try:
            assert is_alive(pid)
            parent.kill()
            parent.wait()
            await until(lambda: not is_alive(pid), deadline_s=5)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_a_child_whose_parent_died_before_exec_runs_nothing() -> None:
    """The signal is asked for too late then, so the child looks who its parent is."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    started = subprocess.run(
        ["echo", "ran"], check=False, preexec_fn=die_with(gone.pid), capture_output=True
    )
    assert (started.returncode, started.stdout) == (1, b"")


ALIKE = """
import asyncio, sys
from app.child import Program, run_alike

programs = [Program(name=f"p {at}", arguments=[sys.executable, "-c", sys.argv[1]]) for at in (1, 2)]
sys.exit(asyncio.run(run_alike(programs, say=lambda text: print(text, flush=True))))
"""
# Tells its id, then each SIGHUP, until SIGTERM.
WAITS = """
import os, signal
def say(line):  # in one write: two of these share a pipe
    os.write(1, f"{line}\\n".encode())
signal.signal(signal.SIGHUP, lambda *_: say("reread"))
say(os.getpid())
while True:
    signal.pause()
"""


@asynccontextmanager
async def alike(code: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ALIKE, code, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(20):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def test_processes_that_are_alike_live_and_end_together() -> None:
    async with alike(WAITS) as parent:
        pids = {int(await line(parent)), int(await line(parent))}
        parent.send_signal(signal.SIGHUP)
        assert [await line(parent), await line(parent)] == ["reread", "reread"]
        os.kill(min(pids), signal.SIGKILL)
        said = {await line(parent), await line(parent)}
        (again,) = [int(one) for one in said if one.isdigit()]
        assert any(one.endswith("was killed by SIGKILL; starts again") for one in said)
        parent.terminate()
        assert await parent.wait() == 0
        assert not any(map(is_alive, {*pids, again}))


async def test_one_that_refuses_to_run_ends_them_all() -> None:
    """As a second receiver would find the configuration wrong or the port taken again."""
    async with alike("raise SystemExit(2)") as parent:
        assert await parent.wait() == 2
