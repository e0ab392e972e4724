"""The server: the data directory, the engine, and a session for each client."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.membership import Membership
from app.sandbox.clickhouse.native import NativeClient
from app.sandbox.clickhouse.services import open_services
from app.sandbox.clickhouse.switches import Switches
from app.sandbox.clickhouse.tls import KeyPair, server_context
from app.sandbox.clickhouse.watch import Watch
from app.sandbox.clickhouse.wire import Wire

if TYPE_CHECKING:
    from app.sandbox.clickhouse.http_server import HttpServer

log = logging.getLogger(__name__)

_HTTP, _WITH_TLS = frozenset({"http", "https"}), frozenset({"secure", "https"})
_BACKLOG = 512
_READ_SIZE = 1 << 16
_MOST_SESSIONS = 1024  # a server's max_connections is 4096; here each has a thread
_HANDSHAKE_S, _SHUTDOWN_S, _AFTER_FAILURE_S = 30, 5, 0.1


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
        self._accepting: list[asyncio.Task[None]] = []
        self._http: HttpServer | None = None
        self._clients: dict[socket.socket, threading.Thread] = {}

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
        self._watch = Watch(self._services.running.kill)
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
                port.setblocking(False)
                port.listen(_BACKLOG)
                self._accepting.append(asyncio.create_task(self._accept(port, context)))
        return opened

    async def _accept(self, port: socket.socket, context: ssl.SSLContext | None) -> None:
        """Give each client of the native protocol a thread."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, (address, *_) = await loop.sock_accept(port)
                if context is not None:
                    client = context.wrap_socket(
                        client, server_side=True, do_handshake_on_connect=False
                    )
            except OSError as error:  # of the client's making, or there are no files left
                log.warning("accept.failed errno=%d", error.errno or 0)
                await asyncio.sleep(_AFTER_FAILURE_S)
                continue
            if not self._services.conduct.admits() or len(self._clients) >= _MOST_SESSIONS:
                _abort(client)
                continue
            thread = threading.Thread(
                target=self._serve, args=(client, address), name="session", daemon=True
            )
            self._clients[client] = thread
            thread.start()

    def _serve(self, client: socket.socket, address: str) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if isinstance(client, ssl.SSLSocket):
                client.settimeout(_HANDSHAKE_S)
                client.do_handshake()
            NativeClient(self._services, self._watch, Wire(client), address).serve()
        except OSError:
            pass  # it left in the middle of its handshake
        except Exception:
            log.exception("session.failed")
        finally:
            del self._clients[client]
            _hang_up(client)

    async def close(self) -> None:
        """Let nobody in any more, end the sessions, and leave the files in order."""
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        threads = list(self._clients.items())
        for client, _ in threads:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)  # what runs for it is killed now
        if self._http is not None:
            await self._http.close()
        await asyncio.to_thread(_join, [thread for _, thread in threads])
        self._services.access.close()


def _abort(client: socket.socket) -> None:
    """Close it as one that nobody listens on: with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _hang_up(client: socket.socket) -> None:
    """Close it so that what was sent arrives: bytes left unread would make it a reset.

    Of a client with TLS they are the bytes as they come: `shutdown` ends the decryption.
    """
    with contextlib.suppress(OSError), client:
        client.shutdown(socket.SHUT_WR)
        client.settimeout(0)
        while client.recv(_READ_SIZE):
            pass


def _join(threads: Sequence[threading.Thread]) -> None:
    until = time.monotonic() + _SHUTDOWN_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


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
