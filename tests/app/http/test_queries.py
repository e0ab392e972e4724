"""Queries: sorted, over all types, by POST, in pages by cursor, and within their time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.directory import tokens
from app.directory.quirks import QuirkLog
from app.scim.quirks import Quirk

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Running, Service
    from tests.conftest import RedisServer


async def names(scim: Client, path: str) -> list[str]:
    body = (await scim("GET", path)).json
    return [r.get("userName") or r.get("displayName") for r in body["Resources"]]


@pytest.fixture
async def people(scim: Client) -> Client:
    """Five users, two without a title, and two groups."""
    people: dict[str, dict[str, Any]] = {
        "dora": {"title": "b"},
        "Anton": {
            "title": "A",
            "emails": [{"value": "z@x.y"}, {"value": "a@x.y", "primary": True}],
        },
        "carla": {},
        "BERT": {"title": "b", "emails": [{"value": "m@x.y"}]},
        "emil": {},
    }
    for name, attributes in people.items():
        await scim.user(name, **attributes)
    await scim.group("Team b")
    await scim.group("team A")
    return scim


SORTED = {
    "by name, in any case": ("sortBy=userName", "Anton BERT carla dora emil"),
    "descending": ("sortBy=username&sortOrder=descending", "emil dora carla BERT Anton"),
    "no value comes last, ties by age": ("sortBy=title", "Anton dora BERT carla emil"),
    "no value comes first": ("sortBy=title&sortOrder=Descending", "carla emil dora BERT Anton"),
    "the primary value": ("sortBy=emails&filter=emails+pr", "Anton BERT"),
    "by sub-attribute": ("sortBy=emails.value&filter=emails+pr", "Anton BERT"),
    "by age": ("sortBy=meta.created", "dora Anton carla BERT emil"),
    "a page": ("sortBy=userName&startIndex=2&count=2", "BERT carla"),
    "filtered": ('sortBy=userName&filter=title+eq+"B"', "BERT dora"),
}


@pytest.mark.parametrize(("query", "expected"), SORTED.values(), ids=SORTED.keys())
async def test_lists_are_sorted(people: Client, query: str, expected: str) -> None:
    assert await names(people, f"/Users?{query}") == expected.split()


async def test_a_sort_that_says_nothing_is_refused(people: Client) -> None:
    for query in ("sortBy=nonsense", "sortBy=name", "sortBy=userName&sortOrder=up"):
        assert (await people("GET", f"/Users?{query}")).refuses(400, "invalidValue")


async def test_a_search_by_post_is_a_get(people: Client) -> None:
    request = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],
        "attributes": ["userName", "title"],
        "filter": "title pr",
        "sortBy": "userName",
        "sortOrder": "descending",
        "startIndex": 1,
        "count": 2,
    }
    posted = await people("POST", "/Users/.search", request)
    got = await people(
        "GET",
        "/Users?attributes=userName,title&filter=title+pr&sortBy=userName&sortOrder=descending"
        "&startIndex=1&count=2",
    )
    assert posted.status == 200
    assert posted.json == got.json
    assert posted.json["totalResults"] == 3
    assert [set(r) for r in posted.json["Resources"]] == [
        {"schemas", "id", "userName", "title"}
    ] * 2
    malformed: list[Any] = [{"count": True}, {"filter": 5}, {"attributes": [5]}, []]
    for wrong in malformed:
        assert (await people("POST", "/Users/.search", wrong)).refuses(400, "invalidSyntax")
    assert (await people("POST", "/Users/.search", {"filter": "x"})).refuses(400, "invalidFilter")


async def test_a_search_at_the_root_is_over_all_types(people: Client) -> None:
    async def search(**request: Any) -> Any:
        return (await people("POST", "/.search", request)).json

    everything = await search()
    assert everything["totalResults"] == 7
    assert {r["meta"]["resourceType"] for r in everything["Resources"]} == {"User", "Group"}
    groups = await search(filter='meta.resourceType eq "Group"', sortBy="displayName")
    assert [r["displayName"] for r in groups["Resources"]] == ["team A", "Team b"]
    mixed = await search(filter='userName eq "anton" or displayName sw "team"')
    assert mixed["totalResults"] == 3
    page = await search(startIndex=5, count=2)
    assert [r["meta"]["resourceType"] for r in page["Resources"]] == ["User", "Group"]
    assert (await people("GET", "/?count=3")).json["itemsPerPage"] == 3
    assert (await people("POST", "/.search", {"filter": "nonsense pr"})).refuses(
        400, "invalidFilter"
    )


async def test_a_token_for_reading_may_search(service: Service) -> None:
    scim = service.scim
    made = await tokens.create(
        service.link, scim.tenant, now_ms=service.receiver.clock.now_ms(), scopes=["read"]
    )
    reader = scim.with_token(f"Bearer {made.token}")
    assert (await reader("POST", "/.search", {})).status == 200
    assert (await reader("POST", "/Users", {"userName": "x"})).refuses(403)
    assert (await reader("POST", "/Bulk", {"Operations": []})).refuses(403)


async def by_cursor(scim: Client, path: str, joint: str = "?") -> list[list[str]]:
    """Return the pages that following the cursors gives."""
    pages, cursor = [], ""
    while True:
        body = (await scim("GET", f"{path}{joint}cursor={cursor}&count=2")).json
        assert "startIndex" not in body
        pages.append([r.get("userName") or r.get("displayName") for r in body["Resources"]])
        if "nextCursor" not in body:
            return pages
        cursor = body["nextCursor"]


async def test_pages_by_cursor_hold_everything_once(people: Client) -> None:
    assert await by_cursor(people, "/Users") == [["dora", "Anton"], ["carla", "BERT"], ["emil"]]
    assert await by_cursor(people, "/Groups") == [["Team b", "team A"]]  # nothing behind is empty
    assert await by_cursor(people, "/Users?filter=title+pr", "&") == [["dora", "Anton"], ["BERT"]]
    assert await by_cursor(people, "/Users?sortBy=userName", "&") == [
        ["Anton", "BERT"],
        ["carla", "dora"],
        ["emil"],
    ]
    assert [len(page) for page in await by_cursor(people, "/")] == [2, 2, 2, 1]
    first = (await people("GET", "/Users?cursor=&count=2")).json
    assert first["totalResults"] == 5
    posted = (
        await people("POST", "/Users/.search", {"cursor": first["nextCursor"], "count": 9})
    ).json
    assert [r["userName"] for r in posted["Resources"]] == ["carla", "BERT", "emil"]


async def test_a_deletion_between_pages_skips_nobody(people: Client) -> None:
    first = (await people("GET", "/Users?cursor&count=2")).json
    for resource in first["Resources"]:
        await people("DELETE", f"/Users/{resource['id']}")
    rest = await people("GET", f"/Users?cursor={first['nextCursor']}&count=9")
    assert [r["userName"] for r in rest.json["Resources"]] == ["carla", "BERT", "emil"]


async def test_a_cursor_is_good_for_its_own_query_only(service: Service) -> None:
    scim, other = service.scim, service.other
    for n in range(4):
        await scim.user(f"u{n}")
        await other.user(f"u{n}@acme.example")
    cursor = (await scim("GET", "/Users?cursor&count=2")).json["nextCursor"]
    flipped = cursor[:-1] + ("A" if cursor[-1] != "A" else "B")
    for client, path in {
        "another tenant": (other, f"/Users?cursor={cursor}"),
        "another type": (scim, f"/Groups?cursor={cursor}"),
        "another filter": (scim, f"/Users?cursor={cursor}&filter=active+pr"),
        "another order": (scim, f"/Users?cursor={cursor}&sortBy=userName"),
        "changed": (scim, f"/Users?cursor={flipped}"),
        "cut": (scim, f"/Users?cursor={cursor[:-5]}"),
        "made up": (scim, "/Users?cursor=abc"),
        "no base64": (scim, "/Users?cursor=%C3%A4"),
    }.values():
        assert (await client("GET", path)).refuses(400, "invalidCursor")
    assert (await scim("GET", "/Users?cursor&count=x")).refuses(400, "invalidCount")
    assert (await scim("GET", "/Users?cursor&count=-1")).json["Resources"] == []
    assert (await scim("GET", "/Users?cursor&startIndex=1")).refuses(400, "invalidValue")


async def test_an_old_cursor_has_expired(
    running: Running, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    async with running(file, redis_server.url, "[limits]\ncursor_seconds = 1\n") as service:
        for n in range(3):
            await service.scim.user(f"u{n}")
        cursor = (await service.scim("GET", "/Users?cursor&count=1")).json["nextCursor"]
        later = service.receiver.clock.now_ms() + 1500
        monkeypatch.setattr(type(service.receiver.clock), "now_ms", lambda _: later)
        assert (await service.scim("GET", f"/Users?cursor={cursor}")).refuses(400, "expiredCursor")


async def test_a_query_that_takes_too_long_says_what_to_do(
    running: Running, redis_server: RedisServer, tmp_path: Path
) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    async with running(file, redis_server.url, "[limits]\nquery_seconds = 0.000001\n") as service:
        scim = service.scim
        ids = [await scim.user(f"u{n}") for n in range(3)]
        for query in ("filter=title+pr", "sortBy=userName"):
            assert (await scim("GET", f"/Users?{query}")).refuses(400, "tooMany", "cursor")
        assert await names(scim, "/Users?count=2") == ["u0", "u1"]
        page = (await scim("GET", "/Users?filter=userName+pr&cursor&count=2")).json
        assert (len(page["Resources"]), "nextCursor" in page) == (2, True)
        assert ids


async def test_a_page_and_a_look_up_cost_the_same_at_any_size(scim: Client) -> None:
    """Counted in commands and bytes of Redis, not in time."""
    redis, directory = scim.link.redis, scim.receiver.tenants[scim.tenant].directory
    keys = directory._keys
    for n in range(5):
        await scim.user(f"u{n}")
    (first,) = await directory.page("user", 0, 1)
    stored = await redis.get(keys.resource("user", first))
    costs = []
    for size in (0, 0, 20_000):  # the first round opens connections
        if size:
            await redis.mset({keys.resource("user", f"x{n}"): stored for n in range(size)})
            await redis.zadd(keys.order("user"), {f"x{n}": n + 10 for n in range(size)})
        before = await redis.info("stats")
        page = (await scim("GET", "/Users?cursor&count=2")).json
        await scim("GET", f"/Users?cursor={page['nextCursor']}&count=2")
        await scim("GET", "/Users?filter=userName+eq+%22u3%22")
        await scim("GET", "/Users?startIndex=3&count=2")
        after = await redis.info("stats")
        costs.append(
            [
                after[name] - before[name]
                for name in ("total_commands_processed", "total_net_output_bytes")
            ]
        )
    _, (few, little), (many, much) = costs
    assert abs(many - few) <= 2
    assert abs(much - little) < 10_000


async def test_me_is_nobody(scim: Client) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE", "POST"):
        assert (await scim(method, "/Me")).refuses(501)


async def test_quirks_of_a_search_at_the_root_are_counted(scim: Client) -> None:
    await scim.user("ana")
    assert (await scim("GET", "/?filter=active+eq+%22True%22")).status == 200
    await scim.receiver.quirks.flush()
    seen = await QuirkLog(scim.link, scim.tenant).read()
    assert Quirk.QUOTED_BOOLEAN in {one.quirk for one in seen}
