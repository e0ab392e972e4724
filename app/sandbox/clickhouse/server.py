"""The server: the data directory, the engine, and a session for each client."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.native import NativeClient
from app.sandbox.clickhouse.services import open_services
from app.sandbox.clickhouse.switches import Switches
from app.sandbox.clickhouse.wire import Wire

log = logging.getLogger(__name__)

_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Listening:
    server: asyncio.Server
    port: int


class Server:
    """`start` and `close` once each. The process serves one data directory."""

    def __init__(
        self, directory: Path, switches: Switches, join: Callable[[int], Membership] | None = None
    ) -> None:
        """`join` says which place in a cluster the server on that port has."""
        self._switches, self._join = switches, join
        self._directory = directory.absolute()
        self._lock = -1
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, port: int) -> Listening:
        """Open the port first and the engine after, so that a taken port is told at once."""
        _own(self._directory)
        self._lock = _lock(self._directory / "lock")
        try:
            server = await asyncio.start_server(
                self._serve, host, port, backlog=_BACKLOG, start_serving=False
            )
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}; "
                "choose another --port"
            ) from error
        opened: int = server.sockets[0].getsockname()[1]
        self._services = await asyncio.to_thread(
            open_services,
            self._directory,
            opened,
            self._switches,
            self._join(opened) if self._join is not None else None,
        )
        await server.start_serving()
        return Listening(server, opened)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._services.conduct.admits():
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs is a task's
        self._sessions.add(task)
        try:
            address = writer.get_extra_info("peername")[0]
            await NativeClient(self._services, Wire(reader, writer), address).serve()
        except asyncio.CancelledError:  # by `close`; Python 3.11 logs it as an error if it goes on
            writer.transport.abort()
        except Exception:
            log.exception("session.failed")
            writer.transport.abort()
        finally:
            self._sessions.discard(task)

    async def close(self, listening: Listening) -> None:
        """Let nobody in any more, end the sessions, and leave the files in order."""
        listening.server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        self._services.access.close()


def _own(directory: Path) -> None:
    """Make the directory and all that will be in it readable by its owner alone."""
    os.umask(0o077)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise CannotStart(f"cannot use {directory}: {error.strerror}; choose another") from error


def _lock(path: Path) -> int:
    """Hold the directory until the process ends: two engines on one would destroy it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise CannotStart(
            f"{path.parent} is in use by another process; stop it or choose another --data-dir"
        ) from None
    return file
