"""A folder that the nodes of a cluster share, in the place of ClickHouse Keeper.

    ddl.lock         held (flock) by the node that adds a statement for all
    access.lock      held by the node that changes users and roles that all of them share
    alive/HOST       held by each node for as long as its process lives
    ddl/N.json       a statement that every node is to run (`ON CLUSTER`), in the order of N
    ddl/N.done/HOST  what came of it there
    ddl/N.busy/HOST  held by the node while it runs the statement
    access.journal   the users and roles of a cluster whose storage is `replicated`

A lock is the kernel's, so it ends with the process that held it, however that ended. `HOST` is
`host:port`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

_KEPT_TASKS = 1000  # distributed_ddl.max_tasks_in_queue


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A statement for all of `hosts`. `database`: the one that its sender was in.

    `access`: it is about users, roles, policies, profiles or quotas.
    """

    sql: str
    access: bool
    database: str
    hosts: tuple[str, ...]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a task on one node: 0 and nothing, or the code and text of its error."""

    code: int = 0
    message: str = ""


class Keeper:
    """One node's view of the folder. `host`: its own name there."""

    def __init__(self, folder: Path, host: str) -> None:
        self.host = host
        self._folder = folder
        self._ddl, self._alive = folder / "ddl", folder / "alive"
        for path in (folder, self._ddl, self._alive):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own = _hold(self._alive / host)  # until the process ends

    @property
    def journal(self) -> Path:
        return self._folder / "access.journal"

    @contextlib.contextmanager
    def lock(self, what: Literal["ddl", "access"]) -> Iterator[None]:
        """Hold what all nodes share; blocks while another one does, and is not reentrant."""
        file = _hold(self._folder / f"{what}.lock")
        try:
            yield
        finally:
            os.close(file)

    def living(self, hosts: Sequence[str]) -> list[str]:
        """Return those of `hosts` whose process lives."""
        return [host for host in hosts if _is_held(self._alive / host)]

    def add(self, task: Task, outcomes: Mapping[str, Outcome]) -> int:
        """Put a task at the end of the queue, done already as `outcomes` say; return its number.

        The caller holds the lock `ddl`.
        """
        number = max(self._numbers(), default=0) + 1
        for host, outcome in outcomes.items():
            self._write(self._done(number) / host, outcome)
        self._write(self._ddl / f"{number}.json", task)
        self._forget(number - _KEPT_TASKS)
        return number

    def changed(self) -> int:
        """Return when the queue was last changed, in nanoseconds of Unix time, as files tell it."""
        return self._ddl.stat().st_mtime_ns

    def tasks(self, after: int) -> list[tuple[int, Task]]:
        """Return the tasks with a higher number that this node has not done yet, in order."""
        found = []
        for number in sorted(number for number in self._numbers() if number > after):
            with contextlib.suppress(FileNotFoundError):  # the oldest one was just forgotten
                task = msgspec.json.decode((self._ddl / f"{number}.json").read_bytes(), type=Task)
                if self.host in task.hosts and not (self._done(number) / self.host).exists():
                    found.append((number, task))
        return found

    @contextlib.contextmanager
    def doing(self, number: int) -> Iterator[None]:
        """Let others see that this node is at work on a task."""
        path = self._ddl / f"{number}.busy" / self.host
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = _hold(path)
        try:
            yield
        finally:
            os.close(file)

    def finish(self, number: int, outcome: Outcome) -> None:
        self._write(self._done(number) / self.host, outcome)

    def outcomes(self, number: int) -> dict[str, Outcome]:
        """Return what came of a task, by host, as far as it is known."""
        with contextlib.suppress(FileNotFoundError):
            return {
                path.name: msgspec.json.decode(path.read_bytes(), type=Outcome)
                for path in self._done(number).iterdir()
                if path.suffix != ".new"
            }
        return {}

    def busy(self, number: int) -> list[str]:
        """Return the hosts that are at work on a task."""
        with contextlib.suppress(FileNotFoundError):
            return [p.name for p in (self._ddl / f"{number}.busy").iterdir() if _is_held(p)]
        return []

    def _numbers(self) -> Iterator[int]:
        return (int(path.stem) for path in self._ddl.iterdir() if path.suffix == ".json")

    def _done(self, number: int) -> Path:
        return self._ddl / f"{number}.done"

    def _forget(self, number: int) -> None:
        (self._ddl / f"{number}.json").unlink(missing_ok=True)
        for suffix in ("done", "busy"):
            shutil.rmtree(self._ddl / f"{number}.{suffix}", ignore_errors=True)

    @staticmethod
    def _write(path: Path, value: Task | Outcome) -> None:
        """Write a file that is there whole or not at all."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        with new.open("wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _hold(path: Path) -> int:
    """Return an open file on which this process, and no other, has a lock until it is closed."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _is_held(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
