"""Bytes that are no HTTP request, straight into the port."""

from __future__ import annotations

import asyncio
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec
import pytest
from aiohttp import web
from yarl import URL

from app.http.answers import Answer
from app.http.wire import Runner

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

HEAD = b"Host: x\r\nConnection: close\r\n"
BROKEN = {
    "no request": b"secret-word nonsense\r\n\r\n",
    "a method that is none": b"F@@ /secret-word HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a bad header": b"GET /secret-word HTTP/1.1\r\n" + HEAD + b"secret word: x\r\n\r\n",
    "a line without end": b"GET /" + b"secret-word" * 10_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_http_is_refused_in_scim_s_form(scim: Client, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(scim.root).port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/scim+json" in head
    error = msgspec.json.decode(body)
    assert (error["status"], error["scimType"]) == ("400", "invalidSyntax")
    assert b"secret" not in answer
    assert (await scim("GET", "/Users")).status == 200


async def exchange(scim: Client, *parts: bytes) -> bytes:
    """Send the parts, each after the answer to the one before has come, and return the answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(scim.root).port)
    head = f"Host: x\r\nAuthorization: {scim.authorization}\r\n".encode()
    path = f"/scim/{scim.tenant}/v2".encode()
    came = b""
    async with asyncio.timeout(10):
        for part in parts:
            writer.write(part.replace(b"PATH", path).replace(b"WHO\r\n", head))
            came += await reader.read(65536)
        came += await reader.read()
    writer.close()
    await writer.wait_closed()
    return came


CLOSE = b"GET PATH/Users?count=0 HTTP/1.1\r\nWHO\r\nConnection: close\r\n\r\n"


async def test_a_client_that_waits_to_be_told_so_sends_its_body(scim: Client) -> None:
    body = b'{"userName": "ana"}'
    head = b"POST PATH/Users HTTP/1.1\r\nWHO\r\nExpect: 100-continue\r\nContent-Length: 19\r\n\r\n"
    came = await exchange(scim, head, body, CLOSE)
    assert came.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n")


async def test_a_client_that_is_refused_is_not_told_to_send_its_body(scim: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(scim.root).port)
    path = f"/scim/{scim.tenant}/v2/Users".encode()
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    writer.write(head % path)
    async with asyncio.timeout(10):
        assert (await reader.read(65536)).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


async def test_head_has_the_length_and_not_the_body(scim: Client) -> None:
    of_head, _, rest = (await exchange(scim, CLOSE.replace(b"GET", b"HEAD", 1))).partition(
        b"\r\n\r\n"
    )
    of_get, _, body = (await exchange(scim, CLOSE)).partition(b"\r\n\r\n")
    assert rest == b""
    length = b"Content-Length: %d\r\n" % len(body)
    assert length in of_head + b"\r\n"
    assert length in of_get + b"\r\n"


async def test_http_1_0_keeps_a_connection_only_if_it_is_asked_to(scim: Client) -> None:
    asked = b"GET PATH/Users?count=0 HTTP/1.0\r\nWHO\r\n"
    kept = await exchange(scim, asked + b"Connection: keep-alive\r\n\r\n", asked + b"\r\n")
    first, second = kept.split(b"HTTP/1.0 200 OK\r\n")[1:]
    assert b"Connection: keep-alive\r\n" in first
    assert b"Connection: close\r\n" in second


async def test_requests_in_one_write_are_answered_in_order(scim: Client) -> None:
    asked = b"GET PATH/Users/%d HTTP/1.1\r\nWHO\r\nX-Request-Id: r%d\r\n\r\n"
    came = await exchange(scim, b"".join(asked % (n, n) for n in range(20)) + CLOSE)
    told = [line for line in came.split(b"\r\n") if line.startswith(b"X-Request-Id: r")]
    assert told == [b"X-Request-Id: r%d" % n for n in range(20)]


async def test_what_offers_another_protocol_is_answered_in_this_one(scim: Client) -> None:
    """Java's clients begin so."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    first = b"GET PATH/Users?count=0 HTTP/1.1\r\nWHO\r\n" + offer + b"\r\n"
    came = await exchange(scim, first, CLOSE)
    assert came.count(b"HTTP/1.1 200 OK\r\n") == 2


@pytest.mark.parametrize("ends", ["\r\n", "\n", "\r", "\0"])
async def test_a_header_that_would_break_out_of_its_line_is_never_sent(ends: str) -> None:
    told: list[bool] = []

    async def respond(_request: web.BaseRequest) -> Answer:
        return Answer(headers={"Location": f"x{ends}Planted: y"}, sent=told.append)

    runner = Runner(respond, nullcontext())
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening).start()
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await runner.cleanup()
    assert told == [False]
