"""Programs that this program starts, keeps running and takes with it when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_QUICK_S = 5.0  # a child that lived shorter than this died quickly
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run. `log`: the file that takes its output, None: the parent's own stderr."""

    name: str
    arguments: Sequence[str]
    folder: Path | None = None
    environ: Mapping[str, str] | None = None
    log: Path | None = None


class Child:
    """One program, started again whenever it dies, until `stop`.

    It dies with this process, however that ends: on Linux the kernel sees to it
    (PR_SET_PDEATHSIG); elsewhere a SIGKILL of this process leaves it running. It has a session
    of its own, so that Ctrl-C reaches this process alone, which then stops children in order.
    """

    def __init__(
        self,
        program: Program,
        *,
        say: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        final: frozenset[int] = frozenset(),
    ) -> None:
        """`changed` is called after each start and end; an exit code in `final` is no death."""
        self.program = program
        self._say, self._changed, self._final = say, changed, final
        self._process: asyncio.subprocess.Process | None = None
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()
        self._ended.set()

    @property
    def pid(self) -> int | None:
        """The id of the running process, None between two."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def run(self) -> int:
        """Keep the program running. Returns its exit code after `stop`, or one in `final`.

        The first restart is immediate; after each further quick death the pause doubles.
        """
        pause, clock = 0.0, asyncio.get_running_loop().time
        self._ended.clear()
        try:
            while True:
                started = clock()
                code = await self._once()
                if self._stopping.is_set() or code in self._final:
                    return code
                if clock() - started >= _QUICK_S:
                    pause = 0.0
                self._say(f"{self.program.name} {_ending(code)}; {self._next(pause)}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
                        return code
                pause = min(max(2 * pause, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        finally:
            self._ended.set()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the running process, if there is one."""
        if self._process is not None and self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, grace_s: float = 5.0) -> None:
        """End it: SIGTERM, and SIGKILL for what still runs after `grace_s`. No restart follows."""
        self._stopping.set()
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._ended.wait()
        except TimeoutError:
            self._say(f"{self.program.name} did not stop within {grace_s:g} s: killed")
            self.send(signal.SIGKILL)
            await self._ended.wait()

    async def _once(self) -> int:
        program = self.program
        log = None if program.log is None else program.log.open("ab")
        try:
            process = await asyncio.create_subprocess_exec(
                *program.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log or sys.stderr,
                stderr=log or sys.stderr,
                cwd=program.folder,
                env=None if program.environ is None else dict(program.environ),
                start_new_session=True,
                preexec_fn=_before_exec(os.getpid()),
            )
        finally:
            if log is not None:
                log.close()
        self._process = process
        try:
            if self._stopping.is_set():  # `stop` came while the program was being started
                self.send(signal.SIGTERM)
            self._changed()
            return await process.wait()
        finally:
            self.send(signal.SIGKILL)  # nothing to do, unless this task was cancelled
            self._changed()

    def _next(self, pause: float) -> str:
        when = f"starts again in {pause:g} s" if pause else "starts again"
        return f"{when}; its output is in {self.program.log}" if self.program.log else when


def _before_exec(parent: int) -> Callable[[], None]:
    """Return what a child does first: SIGHUP, which would end it, waits until it has a handler."""
    die = die_with(parent)

    def before_exec() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        die()

    return before_exec


def die_with(parent: int) -> Callable[[], None]:
    """Return what a child calls before exec, so that it gets SIGKILL when `parent` dies.

    The signal follows the death of the thread that forked, which is the event loop's.
    """
    if not sys.platform.startswith("linux"):
        return lambda: None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above: no signal will come
            os._exit(1)

    return before_exec


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


async def run_alike(programs: Sequence[Program], say: Callable[[str], None]) -> int:
    """Run processes that are alike until SIGTERM or SIGINT, or until one refuses to run.

    One that is killed is started again; one that ends by itself (wrong configuration, a taken
    port) would end again, so all stop and its exit code is returned. SIGHUP is passed on.
    """
    codes = frozenset(range(256))
    children = [Child(program, say=say, final=codes) for program in programs]
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def pass_on() -> None:
        for child in children:
            child.send(signal.SIGHUP)

    loop.add_signal_handler(signal.SIGHUP, pass_on)
    runs = [asyncio.create_task(child.run()) for child in children]
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*runs, waiting], return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(child.stop() for child in children))
    waiting.cancel()
    await asyncio.gather(*runs)
    return next((run.result() for run in runs if run in done), 0)
