"""The server: the data directory, the engine, and a session for each client."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.native import NativeClient
from app.sandbox.clickhouse.services import open_services
from app.sandbox.clickhouse.switches import Switches
from app.sandbox.clickhouse.tls import KeyPair, server_context
from app.sandbox.clickhouse.wire import Wire

if TYPE_CHECKING:
    from app.sandbox.clickhouse.http_server import HttpServer

log = logging.getLogger(__name__)

_HTTP, _WITH_TLS = frozenset({"http", "https"}), frozenset({"secure", "https"})
_BACKLOG = 512
_MOST_SESSIONS = 1024  # a server's max_connections is 4096; here each has a thread
_HANDSHAKE_S, _SHUTDOWN_S = 30, 5


class Server:
    """`listen` and `close` once each. The process serves one data directory."""

    def __init__(
        self,
        directory: Path,
        switches: Switches,
        join: Callable[[int], Membership] | None = None,
        key_pair: KeyPair | None = None,
        limit: int = 0,
    ) -> None:
        """`join` says which place in a cluster the server on that port has.

        `key_pair`: for the ports with TLS, which have a pair of their own without it. `limit`: how
        many queries may run at once, 0: any number.
        """
        self._switches, self._join, self._key_pair = switches, join, key_pair
        self._limit = limit
        self._directory = directory.absolute()
        self._lock = -1
        self._native: list[asyncio.Server] = []
        self._http: HttpServer | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def listen(self, host: str, ports: Mapping[str, int]) -> dict[str, int]:
        """Serve on `ports`, 0 for a free one; return which they are.

        `native`, which must be there, and `http`; with TLS `secure` and `https`. The ports come
        first and the engine after, so that a taken port is told at once.
        """
        _own(self._directory)
        self._lock = _lock(self._directory / "lock")
        tls = None
        if not _WITH_TLS.isdisjoint(ports):
            tls = server_context(self._key_pair, self._directory, host)
        bound = {name: _bind(host, port) for name, port in ports.items()}
        opened = {name: int(port.getsockname()[1]) for name, port in bound.items()}
        self._services = await asyncio.to_thread(
            open_services,
            self._directory,
            opened["native"],
            self._switches,
            self._join(opened["native"]) if self._join is not None else None,
            self._limit,
        )
        if not _HTTP.isdisjoint(ports):
            from app.sandbox.clickhouse.http_server import (  # noqa: PLC0415  0.3 s for aiohttp
                HttpServer,
            )

            self._http = HttpServer(self._services, _BACKLOG)
        for name, port in bound.items():
            context = tls if name in _WITH_TLS else None
            if self._http is not None and name in _HTTP:
                await self._http.listen(port, context)
            else:
                await self._listen_native(port, context)
        return opened

    async def _listen_native(self, port: socket.socket, context: ssl.SSLContext | None) -> None:
        server = await asyncio.start_server(
            self._serve,
            sock=port,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=_HANDSHAKE_S if context else None,
            ssl_shutdown_timeout=_SHUTDOWN_S if context else None,
        )
        self._native.append(server)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._services.conduct.admits() or len(self._sessions) >= _MOST_SESSIONS:
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
