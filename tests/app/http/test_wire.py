"""Bytes that are no HTTP request, straight into the port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from yarl import URL

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
