"""The Lua scripts, as files beside this module, run by their hash."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from app.directory.answered import told
from app.directory.pipelined import PipelinedRedis

COMMITS = frozenset({"write", "delete"})
WAIT_MS = 1000

Timed = Callable[[str, float], None]

_FOLDER = resources.files("app.directory") / "lua"
_TELLING = frozenset({"record", "lane_acknowledge"})  # scripts that keep facts for the ledger


@cache
def _source(name: str) -> str:
    shared = ["_lane" if name.startswith("lane_") else "_log"]
    shared += ["_facts"] if name in _TELLING else []
    return "".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in (*shared, name))


@cache
def _sha(name: str) -> str:
    """Return what Redis knows the script by (that it is SHA-1 is Redis's choice)."""
    return hashlib.sha1(_source(name).encode(), usedforsecurity=False).hexdigest()


def untimed(_name: str, _seconds: float) -> None:
    """Nobody wants to know."""


class Scripts:
    """Runs a script by its SHA-1, or by its text where the server does not know it (yet, or any
    more), which then knows it.

    A script that the server does not know was not run, so sending it again is safe. Every other
    failure leaves the outcome open and is raised: nothing here is ever sent twice.
    """

    def __init__(
        self, redis: PipelinedRedis, timed: Timed = untimed, *, wait_replicas: int = 0
    ) -> None:
        """`timed` is told how long each script took that was answered. A commit counts as answered
        once `wait_replicas` replicas have it.
        """
        self._redis, self._timed, self._replicas = redis, timed, wait_replicas

    async def run(self, name: str, key: str, *args: str | bytes | int) -> Any:
        """Return the script's reply, bytes as Redis sends them.

        Raises DirectoryUnavailable when Redis did not answer; the change may have happened.
        """
        started = time.monotonic()
        reply = await told(self._run("", name, key, args))
        self._timed(name, time.monotonic() - started)
        return reply

    async def read(self, name: str, key: str, *args: str) -> Any:
        """Return the reply of a script that changes nothing; Redis refuses one that tries to."""
        return await told(self._run("_RO", name, key, args))

    async def _run(self, kind: str, name: str, key: str, args: Sequence[str | bytes | int]) -> Any:
        send = self._replicated if self._replicas and name in COMMITS else self._redis.ask
        try:
            return await send((f"EVALSHA{kind}", _sha(name), 1, key, *args))
        except NoScriptError:
            return await send((f"EVAL{kind}", _source(name), 1, key, *args))

    async def _replicated(self, command: tuple[Any, ...]) -> Any:
        # WAIT is about what its own connection wrote, and holds that up: not the shared one.
        pipe = self._redis.pipeline(transaction=False)
        pipe.execute_command(*command)
        pipe.execute_command("WAIT", self._replicas, WAIT_MS)
        reply, reached = await pipe.execute()
        if reached < self._replicas:
            raise ResponseError(f"only {reached} of {self._replicas} replicas have the change")
        return reply
