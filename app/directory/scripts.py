"""The Lua scripts, as files beside this module, run by their hash."""

from __future__ import annotations

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


def untimed(_name: str, _seconds: float) -> None:
    """Nobody wants to know."""


class Scripts:
    """Runs a script by its SHA-1, loading it where the server does not know it (yet, or any more).

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
        self._sha: dict[str, str] = {}

    async def run(self, name: str, key: str, *args: str | bytes | int) -> Any:
        """Return the script's reply, bytes as Redis sends them.

        Raises DirectoryUnavailable when Redis did not answer; the change may have happened.
        """
        started = time.monotonic()
        reply = await told(self._run("EVALSHA", name, key, args))
        self._timed(name, time.monotonic() - started)
        return reply

    async def read(self, name: str, key: str, *args: str) -> Any:
        """Return the reply of a script that changes nothing; Redis refuses one that tries to."""
        return await told(self._run("EVALSHA_RO", name, key, args))

    async def _run(
        self, command: str, name: str, key: str, args: Sequence[str | bytes | int]
    ) -> Any:
        sha = self._sha.get(name)
        if sha is not None:
            try:
                return await self._send(command, name, sha, key, args)
            except NoScriptError:
                pass
        self._sha[name] = await self._redis.script_load(_source(name))
        return await self._send(command, name, self._sha[name], key, args)

    async def _send(
        self, command: str, name: str, sha: str, key: str, args: Sequence[str | bytes | int]
    ) -> Any:
        if not self._replicas or name not in COMMITS:
            return await self._redis.execute_command(command, sha, 1, key, *args)
        # WAIT is about what its own connection wrote, and holds that up: not the shared one.
        pipe = self._redis.pipeline(transaction=False)
        pipe.execute_command(command, sha, 1, key, *args)
        pipe.execute_command("WAIT", self._replicas, WAIT_MS)
        reply, reached = await pipe.execute()
        if reached < self._replicas:
            raise ResponseError(f"only {reached} of {self._replicas} replicas have the change")
        return reply
