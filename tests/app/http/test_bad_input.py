"""What is wrong with a request is said in SCIM's form, names the attribute, and changes nothing."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING, Any

import pytest

from app.http import bodies

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

NOT_JSON: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \n",
    "cut off": b'{"userName": "a',
    "a trailing comma": b'{"userName": "a",}',
    "NaN": b'{"userName": "a", "x": NaN}',
    "an infinite number": b'{"userName": "a", "x": 1e999}',
    "a number of 5,000 digits": b'{"userName": "a", "x": ' + b"9" * 5000 + b"}",
    "half a surrogate pair, cut": b'{"userName": "\\ud800"}',
    "half a surrogate pair in a name": b'{"userName": "a", "x": {"\\udc00": 1}}',
    "no UTF-8": b'{"userName": "\xff"}',
    "UTF-16": '{"userName": "a"}'.encode("utf-16"),
    "a control character": b'{"userName": "a\x00b"}',
    "nested for ever": b"[" * 200_000,
    "nested objects for ever": b'{"a":' * 100_000,
    "HTML": b"<html></html>",
    "a form": b"userName=a",
    "two documents": b"{}{}",
}


@pytest.mark.parametrize("data", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_no_json_is_invalid_syntax(scim: Client, data: bytes) -> None:
    for method, path in (("POST", "/Users"), ("POST", "/Groups"), ("PATCH", "/Users/none")):
        assert (await scim(method, path, data=data)).refuses(400, "invalidSyntax", "body")
    assert await scim.last_seq() == 0


@pytest.mark.parametrize("body", [[], "a", 1, None, True, [{"userName": "a"}]], ids=str)
async def test_a_body_that_is_no_object_is_invalid_syntax(scim: Client, body: Any) -> None:
    data = None if body is not None else b"null"
    reply = await scim("POST", "/Users", body, data=data)
    assert reply.refuses(400, "invalidSyntax", "body")


BAD_USERS: dict[str, tuple[dict[str, Any], str]] = {
    "no userName": ({}, "userName"),
    "null userName": ({"userName": None}, "userName"),
    "empty userName": ({"userName": ""}, "userName"),
    "blank userName": ({"userName": " \t"}, "userName"),
    "userName that is a number": ({"userName": 7}, "userName"),
    "userName that is a list": ({"userName": ["a"]}, "userName"),
    "long userName": ({"userName": "a" * 257}, "userName"),
    "newline in userName": ({"userName": "a\nb"}, "userName"),
    "NUL in userName": ({"userName": "a\u0000b"}, "userName"),
    "DEL in externalId": ({"userName": "a", "externalId": "\x7f"}, "externalId"),
    "long externalId": ({"userName": "a", "externalId": "é" * 257}, "externalId"),
    "active that is neither": ({"userName": "a", "active": "yes"}, "active"),
    "active that is a number": ({"userName": "a", "active": 1}, "active"),
    "name that is a string": ({"userName": "a", "name": "Ana"}, "name"),
    "part of name": ({"userName": "a", "name": {"givenName": 1}}, "name.givenName"),
    "an email": ({"userName": "a", "emails": [{"value": 3}]}, "emails[0].value"),
    "two primaries": (
        {"userName": "a", "emails": [{"value": v, "primary": True} for v in "xy"]},
        "emails",
    ),
    "password that is a number": ({"userName": "a", "password": 1}, "password"),
    "in two cases": ({"userName": "a", "USERNAME": "b"}, "USERNAME"),
    "half a surrogate pair": ({"userName": "a", "x": {"y": ["\\udc00"]}}, "x.y[0]"),
    "nested too deeply": (
        {"userName": "a", "x": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]},
        "x",
    ),
}


@pytest.mark.parametrize(("body", "attribute"), BAD_USERS.values(), ids=BAD_USERS.keys())
async def test_a_bad_attribute_is_named_and_nothing_is_committed(
    scim: Client, body: dict[str, Any], attribute: str
) -> None:
    ana = await scim.user("ana")
    for method, path in (("POST", "/Users"), ("PUT", f"/Users/{ana}")):
        if attribute == "x.y[0]":
            data = b'{"userName": "a", "x": {"y": ["\\udc00"]}}'
            reply = await scim(method, path, data=data)
            assert reply.status == 400
        else:
            assert (await scim(method, path, body)).refuses(400, "invalidValue", attribute)
    assert await scim.last_seq() == 1
    assert (await scim("GET", "/Users")).json["totalResults"] == 1


BAD_GROUPS: dict[str, tuple[dict[str, Any], str]] = {
    "no displayName": ({"members": []}, "displayName"),
    "a member without value": ({"displayName": "a", "members": [{"display": "x"}]}, "members[0]"),
    "a member that is a number": ({"displayName": "a", "members": [1]}, "members[0]"),
    "an empty member": ({"displayName": "a", "members": ["x", ""]}, "members[1]"),
    "a member with NUL": ({"displayName": "a", "members": [{"value": "\u0000"}]}, "members[0]"),
    "a long member": ({"displayName": "a", "members": ["x" * 257]}, "members[0]"),
}


@pytest.mark.parametrize(("body", "attribute"), BAD_GROUPS.values(), ids=BAD_GROUPS.keys())
async def test_a_bad_group_is_named_and_nothing_is_committed(
    scim: Client, body: dict[str, Any], attribute: str
) -> None:
    assert (await scim("POST", "/Groups", body)).refuses(400, "invalidValue", attribute)
    assert await scim.last_seq() == 0


BAD_PATCHES: dict[str, tuple[Any, str, str]] = {
    "no operations": ({}, "invalidSyntax", "Operations"),
    "none in the list": ({"Operations": []}, "invalidSyntax", "Operations"),
    "unknown op": ({"Operations": [{"op": "move"}]}, "invalidSyntax", "op"),
    "no path to remove": ({"Operations": [{"op": "remove"}]}, "noTarget", "path"),
    "read-only": (
        {"Operations": [{"op": "replace", "path": "id", "value": "x"}]},
        "mutability",
        "id",
    ),
    "required": ({"Operations": [{"op": "remove", "path": "userName"}]}, "mutability", "userName"),
    "malformed path": (
        {"Operations": [{"op": "replace", "path": "emails..type", "value": 1}]},
        "invalidPath",
        "path",
    ),
    "unknown path": (
        {"Operations": [{"op": "replace", "path": "shoeSize", "value": 1}]},
        "invalidPath",
        "shoeSize",
    ),
    "no match": (
        {"Operations": [{"op": "replace", "path": 'emails[value eq "x"].display', "value": "d"}]},
        "noTarget",
        "emails",
    ),
    "too many": ({"Operations": [{"op": "add"}] * 1001}, "tooMany", "Operations"),
}


@pytest.mark.parametrize(
    ("body", "scim_type", "word"), BAD_PATCHES.values(), ids=BAD_PATCHES.keys()
)
async def test_a_bad_patch_is_explained(scim: Client, body: Any, scim_type: str, word: str) -> None:
    ana = await scim.user("ana")
    assert (await scim("PATCH", f"/Users/{ana}", body)).refuses(400, scim_type, word)
    assert await scim.last_seq() == 1


MEDIA_TYPES = {
    "application/scim+json": 201,
    "application/scim+json; charset=utf-8": 201,
    'application/json;charset="UTF-8"': 201,
    "APPLICATION/JSON": 201,
    "": 201,
    "text/plain": 415,
    "text/html; charset=utf-8": 415,
    "application/x-www-form-urlencoded": 415,
    "multipart/form-data; boundary=x": 415,
    "application/octet-stream": 415,
    "nonsense": 415,
}


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_json_is_taken_under_both_of_its_names(scim: Client, media_type: str) -> None:
    reply = await scim(
        "POST", "/Users", data=b'{"userName": "a"}', headers={"Content-Type": media_type}
    )
    assert reply.status == MEDIA_TYPES[media_type]
    if reply.status == 415:
        assert reply.refuses(415, None, "Content-Type")


async def test_a_byte_order_mark_is_no_content(scim: Client) -> None:
    assert (await scim("POST", "/Users", data=b'\xef\xbb\xbf{"userName": "a"}')).status == 201


async def test_of_a_name_that_is_given_twice_the_last_one_counts(scim: Client) -> None:
    reply = await scim("POST", "/Users", data=b'{"userName": "a", "userName": "b"}')
    assert reply.json["userName"] == "b"


async def test_a_body_may_have_the_size_that_is_configured_and_no_more(scim: Client) -> None:
    limits = scim.receiver.settings.limits.model_copy(update={"max_body_bytes": 2000})
    scim.receiver.settings = scim.receiver.settings.model_copy(update={"limits": limits})
    start, end = b'{"userName": "a', b'"}'

    def padded(size: int) -> bytes:
        return start + end + b" " * (size - len(start + end))

    assert (await scim("POST", "/Users", data=padded(2001))).refuses(413, None, "2000 bytes")
    assert await scim.last_seq() == 0
    assert (await scim("POST", "/Users", data=padded(2000))).status == 201


async def test_a_packed_body_is_refused_unread(scim: Client) -> None:
    packed = gzip.compress(b'{"userName": "packed"}')
    for data in (packed, packed[:-12], b"no gzip at all"):
        reply = await scim("POST", "/Users", data=data, headers={"Content-Encoding": "gzip"})
        assert reply.refuses(415, None, "Content-Encoding")
    plain = await scim(
        "POST", "/Users", data=b'{"userName": "a"}', headers={"Content-Encoding": "identity"}
    )
    assert plain.status == 201


async def raw(scim: Client, text: bytes) -> bytes:
    """Send bytes as they are, and return what comes back: the head, and a first part."""
    host, port = scim.root.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(text)
        async with asyncio.timeout(5):
            return await reader.read(4096)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_body_that_never_comes_is_given_up(
    scim: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "ARRIVAL_S", 0.1)
    head = (
        f"POST /scim/{scim.tenant}/v2/Users HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: {scim.authorization}\r\nContent-Length: 50\r\n\r\n{{"
    )
    assert (await raw(scim, head.encode())).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_hangs_up_in_its_body_commits_nothing(scim: Client) -> None:
    host, port = scim.root.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /scim/{scim.tenant}/v2/Users HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: {scim.authorization}\r\nContent-Length: 18\r\n\r\n"
    )
    writer.write(head.encode() + b'{"userName": "a"}')
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await scim("GET", "/Users")).json["totalResults"] == 0


ODD_REQUESTS = {
    "no HTTP": b"hello\r\n\r\n",
    "no host": b"GET /scim/acme/v2/Users HTTP/1.0\r\nAuthorization: TOKEN\r\n\r\n",
    "odd host": b"GET PATH HTTP/1.1\r\nHost: <script>\r\nAuthorization: TOKEN\r\n"
    b"Connection: close\r\n\r\n",
    "host that is no text": b"GET PATH HTTP/1.1\r\nHost: \xff\xfe\r\nAuthorization: TOKEN\r\n"
    b"Connection: close\r\n\r\n",
    "url that is no text": b"GET PATH?filter=userName+eq+%22\xff%22 HTTP/1.1\r\nHost: x\r\n"
    b"Authorization: TOKEN\r\nConnection: close\r\n\r\n",
    "odd method": b"BREW PATH HTTP/1.1\r\nHost: x\r\nAuthorization: TOKEN\r\n"
    b"Connection: close\r\n\r\n",
    "unknown expectation": b"GET PATH HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n"
    b"Authorization: TOKEN\r\nConnection: close\r\n\r\n",
    "header of 20,000 bytes": b"GET PATH HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    "url of 20,000 bytes": b"GET PATH/" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "browser": b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("request_", ODD_REQUESTS.values(), ids=ODD_REQUESTS.keys())
async def test_nothing_makes_it_fail_or_speak_html(scim: Client, request_: bytes) -> None:
    path = f"/scim/{scim.tenant}/v2/Users".encode()
    sent = request_.replace(b"PATH", path).replace(b"TOKEN", scim.authorization.encode())
    reply = await raw(scim, sent)
    assert b"HTTP/1.1 500" not in reply[:20]
    assert b"HTTP/1.0 500" not in reply[:20]
    assert b"<script>" not in reply
    assert b"text/html" not in reply.lower()
    assert (await scim("GET", "/Users")).status == 200


ODD_IDS = [
    "..%2f..%2fseq",
    "%00",
    "%0d%0aX-Evil:1",
    "%ff",
    "a" * 4000,
    "*",
    "%7b%7d",
    "a b".replace(" ", "%20"),
    "%F0%9F%92%A5",
    "%ed%a0%80",
    "'%3bDROP",
]


@pytest.mark.parametrize("resource_id", ODD_IDS)
async def test_an_odd_id_is_an_id_that_nothing_has(scim: Client, resource_id: str) -> None:
    body = {"userName": "a", "displayName": "a"}
    for endpoint in ("Users", "Groups"):
        path = f"/{endpoint}/{resource_id}"
        assert (await scim("GET", path)).refuses(404)
        assert (await scim("DELETE", path)).refuses(404)
        assert (await scim("PUT", path, body)).refuses(404)
    assert await scim.last_seq() == 0


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_a_method_that_is_not_there_is_a_405(scim: Client, method: str) -> None:
    reply = await scim(method, "/Users")
    assert reply.refuses(405)
    assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


REQUEST_IDS = {
    "req-1_A.b": True,
    "a" * 64: True,
    "a" * 65: False,
    "": False,
    "a b": False,
    "{}": False,
    "é": False,
    "a\tb": False,
    "$(id)": False,
}


@pytest.mark.parametrize("request_id", REQUEST_IDS)
async def test_a_sane_request_id_is_kept_and_any_other_replaced(
    scim: Client, request_id: str
) -> None:
    reply = await scim("GET", "/Users", headers={"X-Request-Id": request_id})
    assert (reply.headers["X-Request-Id"] == request_id) == REQUEST_IDS[request_id]
    assert reply.headers["X-Request-Id"]
    refused = await scim.with_token("")("GET", "/Users", headers={"X-Request-Id": "mine"})
    assert refused.headers["X-Request-Id"] == "mine"


async def test_what_no_schema_knows_is_left_out_and_counted(scim: Client) -> None:
    body = {"userName": "ana", "shoeSize": 38, "urn:x:y": {"a": 1}, "name": {"nick": "A"}}
    made = await scim("POST", "/Users", body)
    assert made.status == 201
    assert not {"shoeSize", "urn:x:y", "name"} & set(made.json)
    metrics = (await scim("GET", "//metrics")).raw.decode()
    labels = f'resource="User",tenant="{scim.tenant}"'
    assert f"scim_ignored_attributes_total{{{labels}}} 3.0" in metrics
