"""RFC 9865 over HTTP: pages by cursor."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Live, Scim

SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]+")  # RFC 3986 §2.3


async def page(scim: Scim, cursor: str, query: str = "count=2") -> Any:
    return (await scim.get(f"/Users?cursor={cursor}&{query}")).ok(200).json


async def walk(scim: Scim, query: str) -> list[list[str]]:
    """Return the names of all pages, in order."""
    pages, cursor = [], ""
    while True:
        body = await page(scim, cursor, query)
        pages.append([user["userName"] for user in body.get("Resources", [])])
        if "nextCursor" not in body:
            return pages
        cursor = body["nextCursor"]
        assert UNRESERVED.fullmatch(cursor), cursor


async def test_2_an_empty_cursor_begins_and_the_last_page_has_no_next_one(scim: Scim) -> None:
    names = [f"n{n}" for n in range(5)]
    for name in names:
        await scim.user(name)
    pages = await walk(scim, "count=2")
    assert [name for names in pages for name in names] == names
    assert all(len(names) <= 2 for names in pages)
    first = await page(scim, "")
    assert "previousCursor" not in first
    assert first.get("totalResults", 5) == 5


async def test_2_a_list_that_is_one_page_has_no_next_cursor(scim: Scim) -> None:
    await scim.user("only")
    body = await page(scim, "", "count=10")
    assert [user["userName"] for user in body["Resources"]] == ["only"]
    assert "nextCursor" not in body
    assert (await page(scim, "", "filter=userName%20eq%20%22x%22")).get("Resources", []) == []


async def test_2_a_filter_stays_the_same_over_all_pages(scim: Scim) -> None:
    for n in range(6):
        await scim.user(f"n{n}", title="T" if n % 2 else None)
    pages = await walk(scim, "count=2&filter=title%20pr")
    assert [name for names in pages for name in names] == ["n1", "n3", "n5"]


async def test_2_a_page_by_cursor_loses_nobody_who_stays(scim: Scim) -> None:
    """Between two pages somebody of the first one goes: an index would skip one, a cursor not."""
    ids = [await scim.user(f"n{n}") for n in range(5)]
    first = await page(scim, "")
    (await scim.delete(f"/Users/{ids[0]}")).ok(204)
    rest = await walk_from(scim, first["nextCursor"])
    assert rest == ["n2", "n3", "n4"]


async def walk_from(scim: Scim, cursor: str) -> list[str]:
    names: list[str] = []
    while cursor:
        body = await page(scim, cursor)
        names += [user["userName"] for user in body["Resources"]]
        cursor = body.get("nextCursor", "")
    return names


@pytest.mark.parametrize("count", [0, -3])
async def test_2_a_count_of_0_or_less_asks_for_the_total_only(scim: Scim, count: int) -> None:
    await scim.user("one")
    body = await page(scim, "", f"count={count}")
    assert body.get("Resources", []) == []
    assert body["totalResults"] == 1


@pytest.mark.parametrize("cursor", ["nonsense", "x" * 500, quote("é"), quote("../"), "0", "AAAA"])
async def test_2_1_a_cursor_that_nobody_gave_is_invalid(scim: Scim, cursor: str) -> None:
    await scim.user("one")
    (await scim.get(f"/Users?cursor={cursor}&count=2")).refused(400, "invalidCursor")


async def test_2_1_a_count_that_is_none_is_refused(scim: Scim) -> None:
    reply = await scim.get("/Users?cursor=&count=many")
    assert reply.status == 400
    assert reply.json["scimType"] in {"invalidCount", "invalidValue"}


async def test_2_3_a_query_by_post_has_a_cursor_too(scim: Scim) -> None:
    for n in range(3):
        await scim.user(f"n{n}")
    body = {"schemas": [SEARCH], "cursor": "", "count": 2}
    first = (await scim.post("/Users/.search", body)).ok(200).json
    second = (await scim.post("/Users/.search", body | {"cursor": first["nextCursor"]})).ok(200)
    assert [user["userName"] for user in second.json["Resources"]] == ["n2"]
    assert "nextCursor" not in second.json


async def test_2_4_both_methods_are_there_and_the_index_is_the_default(scim: Scim) -> None:
    for n in range(3):
        await scim.user(f"n{n}")
    body = (await scim.get("/Users?count=2")).ok(200).json
    assert body["startIndex"] == 1
    assert "nextCursor" not in body
    pagination = (await scim.get("/ServiceProviderConfig")).json["pagination"]
    assert pagination["defaultPaginationMethod"] == "index"


async def test_4_the_configuration_announces_it(scim: Scim) -> None:
    pagination = (await scim.get("/ServiceProviderConfig")).ok(200).json["pagination"]
    assert pagination["cursor"] is True
    assert pagination["index"] is True
    assert 0 < pagination["defaultPageSize"] <= pagination["maxPageSize"]
    assert isinstance(pagination.get("cursorTimeout", 1), int)
    body = await page(scim, "", f"count={pagination['maxPageSize'] * 2}")
    assert body["itemsPerPage"] <= pagination["maxPageSize"]


async def test_5_a_cursor_gives_no_access(scim: Scim, live: Live) -> None:
    """Another tenant's client gets nothing of the list by it, and no other error than anybody."""
    for n in range(3):
        await scim.user(f"n{n}")
    cursor = (await page(scim, ""))["nextCursor"]
    other = live.take()
    theirs = replace(scim, base=other.base, token=other.token)
    await theirs.user("theirs")
    reply = await theirs.get(f"/Users?cursor={cursor}&count=2")
    if reply.status == 200:
        assert {user["userName"] for user in reply.json.get("Resources", [])} <= {"theirs"}
    else:
        reply.refused(400, "invalidCursor")
    stranger = await scim.send(
        "GET", f"/Users?cursor={cursor}", headers={"Authorization": "Bearer x"}
    )
    stranger.refused(401)
