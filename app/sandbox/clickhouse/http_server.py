"""The HTTP interface (`src/Server/HTTPHandler.cpp`): a request is a log-in and one query.

A result is written by the engine in the format that is asked for. It goes into a file where the
client waits for the end of the query, else through a pipe, so that no result is ever in memory as
a whole. Data of an INSERT waits in a file until all of it is there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import socket
import ssl
import string
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import IO

import aiohttp
from aiohttp import web

from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.http_codings import Both, Framed, Packer, Plain, packer_of, unpacker_of
from app.sandbox.clickhouse.http_request import parse_request
from app.sandbox.clickhouse.http_sessions import HttpSession, HttpSessions
from app.sandbox.clickhouse.queries import Counts, Query
from app.sandbox.clickhouse.services import Services
from app.sandbox.clickhouse.statements import Statement, Use, parse_statement, split_insert
from app.sandbox.clickhouse.user_session import UserSession

log = logging.getLogger(__name__)

_MAX_LINE = 1 << 20  # http_max_uri_size
_MAX_HEADER = 1 << 17  # http_max_field_value_size
_SILENCE_S = 30  # http_receive_timeout: for the next part of a body
_HELD = 1 << 20  # bytes of a result that wait for its end before the answer begins
_PART = 1 << 18
_MAX_TEXT = 1 << 24  # of a query that is not an INSERT's data: the engine refuses long before
_MAX_QUERY_SIZE = 262_144  # the setting, where a client does not change it

_QUERY_IS_TOO_LARGE, _STD_EXCEPTION = 229, 1001

_STATUSES = {  # exceptionCodeToHTTPStatus.cpp; all others are 500
    400: "6 8 15 25 26 27 36 37 38 41 44 53 62 72 117 123 167 168 223 321 376 427 441 675 676",
    401: "194",
    403: "192 193 497 512 516",
    404: "46 47 50 56 60 63 73 78 81 115 152 336 511",
    408: "159",
    411: "381",
    413: "229",
    415: "779",
    501: "48",
    503: "76 209 439",
}
_STATUS_OF = {int(code): status for status, codes in _STATUSES.items() for code in codes.split()}

_CONTENT_TYPES = {
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "CSVWithNamesAndTypes": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "JSONCompactEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": "application/octet-stream",
    "Parquet": "application/octet-stream",
    "RowBinary": "application/octet-stream",
    "RowBinaryWithNamesAndTypes": "application/octet-stream",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNames": "text/tab-separated-values; charset=UTF-8",
    "TabSeparatedWithNamesAndTypes": "text/tab-separated-values; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
}
_OTHER_CONTENT = "text/plain; charset=UTF-8"


class HttpServer:
    def __init__(self, services: Services, backlog: int) -> None:
        self._services, self._backlog = services, backlog
        self._sessions = HttpSessions(services)
        self._error_names = services.engine.error_names()
        self._runner = web.ServerRunner(
            web.Server(
                self._handle,
                handler_cancellation=True,  # a query whose client is gone is stopped
                access_log=None,
                auto_decompress=False,
                max_line_size=_MAX_LINE,
                max_field_size=_MAX_HEADER,
            ),
            shutdown_timeout=0,
        )

    async def listen(self, port: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve on one more port."""
        if not self._runner.sites:
            await self._runner.setup()
        await web.SockSite(self._runner, port, backlog=self._backlog, ssl_context=tls).start()

    async def close(self) -> None:
        await self._runner.cleanup()
        self._sessions.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self._services.conduct.admits():
            return _hang_up(request)
        path, _, parameters = request.raw_path.partition("?")
        if path in {"/ping", "/replicas_status"} or (path == "/" and not parameters):
            if request.method in {"GET", "HEAD"}:
                return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")
        elif path not in {"/", "/query"}:
            return web.Response(
                status=404,
                text=f"There is no handle {path[:200]}\n\nUse / or /ping for health checks.\n\n"
                "Send queries from your program with POST method or GET /?query=...\n",
            )
        try:
            return await _Exchange(self._services, self._sessions, request).run()
        except ServerError as error:
            return self._refusal(error)
        except Disconnected:
            return _hang_up(request)
        except Exception:
            log.exception("http.failed")
            return self._refusal(
                ServerError(_STD_EXCEPTION, "the sandbox failed; its log says why")
            )

    def _refusal(self, error: ServerError) -> web.Response:
        status = _STATUS_OF.get(error.code, 500)
        return web.Response(
            status=status,
            body=render_error(error, self._error_names, self._services.engine.version),
            headers={
                "Content-Type": _OTHER_CONTENT,
                "X-ClickHouse-Exception-Code": str(error.code),
            }
            | ({"WWW-Authenticate": "Basic"} if status == 401 else {}),
        )


def render_error(error: ServerError, names: dict[int, str], version: str) -> bytes:
    name = names.get(error.code, "")
    text = f"Code: {error.code}. {error.message} ({name}) (version {version} (sandbox))\n"
    return text.encode("utf-8", "surrogateescape")


def _hang_up(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, services: Services, sessions: HttpSessions, request: web.BaseRequest
    ) -> None:
        self._services, self._sessions, self._request = services, sessions, request
        self._asked = parse_request(
            request.method, request.raw_path, request.headers, query_id=str(uuid.uuid4())
        )
        self._began_ns = time.monotonic_ns()
        self._headers = {
            "X-ClickHouse-Server-Display-Name": "sandbox",
            "X-ClickHouse-Query-Id": self._asked.query_id,
            "X-ClickHouse-Timezone": services.time_zone,
        }

    async def run(self) -> web.StreamResponse:
        """Return the answer. Raises ServerError while it has not begun."""
        request = self._request
        peer = request.transport and request.transport.get_extra_info("peername")
        if not peer:
            raise Disconnected
        async with self._sessions.of(self._asked, peer[0]) as session:
            if self._asked.roles:
                await session.call(session.user.set_roles, self._asked.roles)
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async with aclosing(self._body()) as body:
                text = await self._text(body)
                insert = split_insert(text)
                if insert is not None:
                    return await self._insert(session, *insert, body)
            statement = parse_statement(text)
            query = self._asked.query(statement.sql)
            output = statement.format or self._asked.format
            if statement.use is Use.SELECT and not self._asked.waits:
                async with session.during(query):
                    return await self._stream(session, query, statement, output)
            with tempfile.TemporaryFile() as file:
                # an access statement is short, and done to its end
                run = session.call if statement.use is Use.ACCESS else session.run
                async with session.during(query):
                    await run(self._fill, session.user, query, statement, file)
                return await self._send(file, output, session.user.counts)

    def _fill(self, user: UserSession, query: Query, statement: Statement, file: IO[bytes]) -> None:
        """Run anything but an INSERT with data, and write its result. Blocks."""
        output = statement.format or self._asked.format
        user.prepare(query, statement)
        if statement.use is Use.SELECT:
            user.export(statement, output, file.fileno())
            return
        shared = self._services
        native = user.run(statement, shared.access, shared.log, shared.cluster)
        if native:
            shared.engine.convert(native, output, file.fileno())

    async def _body(self) -> AsyncGenerator[bytes]:
        """Yield the body's content in parts, without its codings. Raises Disconnected."""
        outer = unpacker_of(self._asked.body_coding)
        inner = Framed() if self._asked.body_framed else Plain()
        while part := await self._received():
            for piece in outer.unpack(part):
                for data in inner.unpack(piece):
                    yield data
        outer.end()
        inner.end()

    async def _received(self) -> bytes:
        try:
            async with asyncio.timeout(_SILENCE_S):
                return await self._request.content.readany()
        except (TimeoutError, OSError, aiohttp.ClientError, web.RequestPayloadError) as error:
            raise Disconnected from error

    async def _text(self, body: AsyncGenerator[bytes]) -> str:
        """Return the query, or the beginning of an INSERT whose data goes on in `body`."""
        sql = self._asked.sql
        if split_insert(sql) is not None:
            return f"{sql}\n"
        content = bytearray(f"{sql}\n" if sql else "", "utf-8", "surrogateescape")
        limit = self._query_limit()
        async for part in body:
            content += part
            if len(content) <= limit:
                continue
            if limit == _MAX_TEXT:
                raise ServerError(_QUERY_IS_TOO_LARGE, "DB::Exception: The query is too large")
            if split_insert(_decoded(content)) is not None:
                break
            limit = _MAX_TEXT
        return _decoded(content)

    def _query_limit(self) -> int:
        """Return within how many bytes an INSERT's data begins."""
        text = self._asked.settings.get("max_query_size", "")
        return min(int(text) if text.isdecimal() else _MAX_QUERY_SIZE, _MAX_TEXT)

    async def _insert(
        self, session: HttpSession, statement: Statement, data: str, body: AsyncGenerator[bytes]
    ) -> web.StreamResponse:
        query = self._asked.query(statement.sql)
        async with session.during(query):
            insert = await session.call(session.user.insert, statement)
            try:
                await session.call(insert.write, data.encode("utf-8", "surrogateescape"))
                async for part in body:
                    await session.call(insert.write, part)
                await session.call(session.user.prepare, query, statement)
            except BaseException:
                await session.call(insert.cancel)
                raise
            await session.run(insert.finish)
        return web.Response(headers=self._headers | self._summary(session.user.counts))

    async def _stream(
        self, session: HttpSession, query: Query, statement: Statement, output: str
    ) -> web.StreamResponse:
        """Answer while the engine works; it waits where the client does not read."""
        source, target = os.pipe()
        task = asyncio.ensure_future(
            session.run(_export, session.user, query, statement, output, target)
        )
        task.add_done_callback(lambda _: os.close(target))
        reader = asyncio.StreamReader(_PART)
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb")
        )
        try:
            head = bytearray()
            while len(head) < _HELD and (part := await reader.read(_PART)):
                head += part
            if len(head) < _HELD:
                await task
                return self._whole(bytes(head), output, session.user.counts)
            return await self._relay(bytes(head), reader, task, output)
        finally:
            pipe.close()  # first: an engine that waits for it to be read cannot be killed
            task.cancel()
            await asyncio.wait((task,))

    async def _relay(
        self, head: bytes, reader: asyncio.StreamReader, task: asyncio.Future[None], output: str
    ) -> web.StreamResponse:
        tag = "".join(secrets.choice(string.ascii_lowercase) for _ in range(16))
        response, packer = await self._begin(output, {"X-ClickHouse-Exception-Tag": tag})
        part = head
        while part:
            await _write(response, packer.pack(part))
            part = await reader.read(_PART)
        try:
            await task
        except ServerError as error:
            said = f"Code: {error.code}. {error.message}".encode("utf-8", "surrogateescape")
            end = b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n"
            code = tag.encode()
            await _write(response, packer.pack(end % (code, said, len(said) + 1, code)))
            await _write(response, packer.end())
            raise Disconnected from None  # without the end that HTTP asks for: it is not whole
        await _write(response, packer.end())
        return response

    async def _send(self, file: IO[bytes], output: str, counts: Counts) -> web.StreamResponse:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        if size <= _HELD:
            return self._whole(file.read(), output, counts)
        response, packer = await self._begin(output, self._summary(counts))
        while part := file.read(_PART):
            await _write(response, packer.pack(part))
        await _write(response, packer.end())
        return response

    def _whole(self, data: bytes, output: str, counts: Counts) -> web.Response:
        headers = self._content(output) | self._summary(counts)
        packer = self._packer()
        return web.Response(body=packer.pack(data) + packer.end() if data else b"", headers=headers)

    async def _begin(self, output: str, more: dict[str, str]) -> tuple[web.StreamResponse, Packer]:
        response = web.StreamResponse(headers=self._content(output) | more)
        await response.prepare(self._request)
        return response, self._packer()

    def _packer(self) -> Packer:
        outer = packer_of(self._asked.coding)
        return Both(Framed(), outer) if self._asked.framed else outer

    def _content(self, output: str) -> dict[str, str]:
        headers = self._headers | {
            "Content-Type": _CONTENT_TYPES.get(output, _OTHER_CONTENT),
            "X-ClickHouse-Format": output,
        }
        return headers | ({"Content-Encoding": self._asked.coding} if self._asked.coding else {})

    def _summary(self, counts: Counts) -> dict[str, str]:
        took = {"elapsed_ns": time.monotonic_ns() - self._began_ns}
        summary = {name: str(value) for name, value in (asdict(counts) | took).items()}
        return {"X-ClickHouse-Summary": json.dumps(summary)}


async def _write(response: web.StreamResponse, data: bytes) -> None:
    if data:
        try:
            async with asyncio.timeout(_SILENCE_S):
                await response.write(data)
        except (TimeoutError, OSError) as error:
            raise Disconnected from error


def _decoded(content: bytearray) -> str:
    return content.decode("utf-8", "surrogateescape")


def _export(user: UserSession, query: Query, statement: Statement, output: str, file: int) -> None:
    user.prepare(query, statement)
    user.export(statement, output, file)
