"""The server: the data directory, the engine, and a session for each client."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.http_server import HttpServer
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.native import NativeClient
from app.sandbox.clickhouse.services import open_services
from app.sandbox.clickhouse.switches import Switches
from app.sandbox.clickhouse.wire import Wire

log = logging.getLogger(__name__)

_BACKLOG = 512


class Server:
    """`listen` and `close` once each. The process serves one data directory."""

    def __init__(
        self, directory: Path, switches: Switches, join: Callable[[int], Membership] | None = None
    ) -> None:
        """`join` says which place in a cluster the server on that port has."""
        self._switches, self._join = switches, join
        self._directory = directory.absolute()
        self._lock = -1
        self._native: list[asyncio.Server] = []
        self._http: HttpServer | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, ports: Mapping[str, int]) -> dict[str, int]:
        """Serve on `ports`: `native` and `http`, 0 for a free one. Return which they are.

        The ports come first and the engine after, so that a taken port is told at once.
        """
        _own(self._directory)
        self._lock = _lock(self._directory / "lock")
        bound = {name: _bind(host, port) for name, port in ports.items()}
        opened = {name: int(port.getsockname()[1]) for name, port in bound.items()}
        self._services = await asyncio.to_thread(
            open_services,
            self._directory,
            opened["native"],
            self._switches,
            self._join(opened["native"]) if self._join is not None else None,
        )
        if "http" in bound:
            self._http = HttpServer(self._services)
            await self._http.listen(bound["http"])
        self._native.append(
            await asyncio.start_server(self._serve, sock=bound["native"], backlog=_BACKLOG)
        )
        return opened

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

    async def close(self) -> None:
        """Let nobody in any more, end the sessions, and leave the files in order."""
        for server in self._native:
            server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        if self._http is not None:
            await self._http.close()
        self._services.access.close()


def _bind(host: str, port: int) -> socket.socket:
    """Take a port; nobody can connect before it is listened on."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise CannotStart(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port"
        ) from error
    return bound


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
