"""`/Bulk`: each operation is a write of its own, and references find their resources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Reply, Running, Service
    from tests.conftest import RedisServer

BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


def op(method: str, path: str, data: Any = None, bulk_id: str | None = None, **more: Any) -> Any:
    made = {"method": method, "path": path} | more
    made |= {} if data is None else {"data": data}
    return made | ({} if bulk_id is None else {"bulkId": bulk_id})


def user(name: str, bulk_id: str, **attributes: Any) -> Any:
    return op("POST", "/Users", {"userName": name} | attributes, bulk_id)


def group(name: str, bulk_id: str, *members: str) -> Any:
    data = {"displayName": name, "members": [{"value": f"bulkId:{m}"} for m in members]}
    return op("POST", "/Groups", data, bulk_id)


async def send(scim: Client, *operations: Any, **more: Any) -> Reply:
    reply = await scim(
        "POST", "/Bulk", {"schemas": [BULK_REQUEST], "Operations": operations} | more
    )
    assert reply.status == 200, reply.raw
    assert reply.json["schemas"] == [BULK_RESPONSE]
    return reply


async def sent(scim: Client, *operations: Any, **more: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = (await send(scim, *operations, **more)).json["Operations"]
    return results


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [result["status"] for result in results]


async def test_every_method_works_and_tells_where_and_which_version(scim: Client) -> None:
    old, gone = await scim.user("old"), await scim.user("gone")
    reply = await send(
        scim,
        user("ana", "a"),
        op("put", f"/Users/{old}", {"userName": "new"}),
        op("PATCH", f"Users/{old}", {"Operations": [{"op": "add", "path": "title", "value": "x"}]}),
        op("DELETE", f"/Users/{gone}"),
    )
    created, put, patched, deleted = reply.json["Operations"]
    assert statuses(reply.json["Operations"]) == ["201", "200", "200", "204"]
    assert (created["method"], created["bulkId"], created["version"]) == ("POST", "a", 'W/"3"')
    assert (await scim("GET", created["location"].removeprefix(scim.base))).json[
        "userName"
    ] == "ana"
    assert put["location"] == f"{scim.base}/Users/{old}"
    assert (put["version"], patched["version"]) == ('W/"4"', 'W/"5"')
    assert "version" not in deleted
    assert reply.seq == 6
    now = (await scim("GET", f"/Users/{old}")).json
    assert (now["userName"], now["title"]) == ("new", "x")
    assert (await scim("GET", f"/Users/{gone}")).refuses(404)


async def test_references_go_backwards_forwards_and_into_paths(scim: Client) -> None:
    results = await sent(
        scim,
        group("Team", "team", "ana", "bo"),  # before its members
        user("ana", "ana"),
        user("bo", "bo", **{ENTERPRISE: {"manager": {"value": "bulkId:ana"}}}),
        op(
            "PATCH",
            "/Groups/bulkId:team",
            {"Operations": [{"op": "remove", "path": 'members[value eq "bulkId:ana"]'}]},
        ),
        op("PUT", "/Users/bulkId:ana", {"userName": "anna"}),
    )
    assert statuses(results) == ["201", "201", "201", "200", "200"]
    team, ana, bo = (result["location"].rsplit("/", 1)[1] for result in results[:3])
    assert results[3]["location"] == f"{scim.base}/Groups/{team}"
    assert await scim.members(team) == [bo]
    assert (await scim("GET", f"/Users/{bo}")).json[ENTERPRISE]["manager"]["value"] == ana
    assert (await scim("GET", f"/Users/{ana}")).json["userName"] == "anna"


async def test_a_circle_of_references_is_closed_in_a_second_step(scim: Client) -> None:
    results = await sent(
        scim,
        user("ana", "a", **{ENTERPRISE: {"manager": {"value": "bulkId:b"}, "department": "X"}}),
        user("bo", "b", **{ENTERPRISE: {"manager": {"value": "bulkId:a"}}}),
    )
    assert statuses(results) == ["201", "201"]
    ana, bo = (result["location"].rsplit("/", 1)[1] for result in results)
    for one, manager in ((ana, bo), (bo, ana)):
        got = await scim("GET", f"/Users/{one}")
        assert got.json[ENTERPRISE]["manager"]["value"] == manager
        result = next(r for r in results if r["location"].endswith(one))
        assert result["version"] == got.headers["ETag"]
    assert (await scim("GET", f"/Users/{ana}")).json[ENTERPRISE]["department"] == "X"


async def test_groups_that_would_hold_each_other_are_a_conflict(scim: Client) -> None:
    results = await sent(scim, group("One", "one", "two"), group("Two", "two", "one"))
    assert sorted(statuses(results)) == ["201", "409"]
    assert (await scim("GET", "/Groups")).json["totalResults"] == 1


FAILING: dict[str, tuple[Any, str]] = {
    "an unknown method": (op("GET", "/Users/x"), "405"),
    "an unknown endpoint": (op("POST", "/Cats", {}, "x"), "404"),
    "discovery": (op("POST", "/Schemas", {}, "x"), "404"),
    "me": (op("POST", "/Me", {}, "x"), "501"),
    "a path too deep": (op("DELETE", "/Users/x/y"), "400"),
    "no path": ({"method": "DELETE"}, "400"),
    "POST without bulkId": (op("POST", "/Users", {"userName": "x"}), "400"),
    "POST at a resource": (op("POST", "/Users/x", {"userName": "x"}, "x"), "400"),
    "PUT at an endpoint": (op("PUT", "/Users", {"userName": "x"}), "400"),
    "no data": (op("PUT", "/Users/x"), "400"),
    "nobody": (op("DELETE", "/Users/nobody"), "404"),
    "invalid data": (op("POST", "/Users", {}, "x"), "400"),
    "a taken name": (user("taken", "x"), "409"),
    "a reference to nothing": (group("x", "x", "nothing"), "409"),
    "a reference to itself": (group("x", "x", "x"), "409"),
    "a path to nothing": (op("DELETE", "/Users/bulkId:nothing"), "409"),
    "another version": (op("DELETE", "/Users/ID", version='W/"99"'), "412"),
}


@pytest.mark.parametrize(("operation", "status"), FAILING.values(), ids=FAILING.keys())
async def test_a_failure_is_told_and_hinders_nobody(
    scim: Client, operation: dict[str, Any], status: str
) -> None:
    taken = await scim.user("taken")
    if "path" in operation:
        operation = operation | {"path": operation["path"].replace("ID", taken)}
    failed, worked = await sent(scim, operation, user("ana", "a"))
    assert (failed["status"], worked["status"]) == (status, "201")
    error = failed["response"]
    assert (error["status"], error["schemas"][0][-5:]) == (status, "Error")
    if operation["method"] == "POST":
        assert "location" not in failed
    assert await scim.last_seq() == 2


async def test_what_refers_to_a_failed_creation_fails_with_it(scim: Client) -> None:
    results = await sent(
        scim, op("POST", "/Users", {}, "a"), group("Team", "t", "a"), user("bo", "b")
    )
    assert statuses(results) == ["400", "409", "201"]
    assert (await scim("GET", "/Groups")).json["totalResults"] == 0


async def test_after_so_many_errors_nothing_more_is_done(scim: Client) -> None:
    bad = op("DELETE", "/Users/nobody")
    results = await sent(
        scim, user("a", "a"), bad, user("b", "b"), bad, user("c", "c"), failOnErrors=2
    )
    assert statuses(results) == ["201", "404", "201", "404"]
    assert len(await sent(scim, bad, bad, user("c", "c"), failOnErrors=1)) == 1
    assert (await scim("GET", "/Users")).json["totalResults"] == 2


WHOLE: dict[str, Any] = {
    "no object": [],
    "no operations": {},
    "operations that are no list": {"Operations": {}},
    "an operation that is no object": {"Operations": [user("a", "a"), 5]},
    "a path that is no string": {"Operations": [user("a", "a"), {"method": "PUT", "path": 5}]},
    "failOnErrors that is no number": {"Operations": [user("a", "a")], "failOnErrors": True},
    "a bulkId twice": {"Operations": [user("a", "x"), user("b", "x")]},
}


@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE.keys())
async def test_a_malformed_request_does_nothing(scim: Client, body: Any) -> None:
    assert (await scim("POST", "/Bulk", body)).refuses(400, "invalidSyntax")
    assert await scim.last_seq() == 0


async def test_too_much_at_once_is_refused_with_the_limit(
    running: Running, redis_server: RedisServer, tmp_path: Path
) -> None:
    limits = "[limits]\nmax_bulk_operations = 3\nmax_bulk_bytes = 2000\n"
    file = tmp_path / "clickhouse-scim.toml"
    async with running(file, redis_server.url, limits) as service:
        scim = service.scim
        many = {"Operations": [user(f"u{n}", f"u{n}") for n in range(4)]}
        assert (await scim("POST", "/Bulk", many)).refuses(413, None, "maxOperations (3)")
        large = {"Operations": [user("a", "a", title="x" * 2000)]}
        assert (await scim("POST", "/Bulk", large)).refuses(413, None, "maxPayloadSize of 2000")
        assert await scim.last_seq() == 0
        config = (await scim("GET", "/ServiceProviderConfig")).json
        assert (config["bulk"]["maxOperations"], config["bulk"]["maxPayloadSize"]) == (3, 2000)


async def test_whoever_waits_for_a_failed_creation_is_taken_away_again(scim: Client) -> None:
    broken = op("POST", "/Groups", {"members": [{"value": "bulkId:two"}]}, "one")  # has no name
    results = await sent(scim, broken, group("Two", "two", "one"), user("ana", "a"))
    assert statuses(results) == ["400", "409", "201"]
    assert await scim.last_seq() == 3  # created, taken away, and ana
    assert (await scim("GET", "/Groups")).json["totalResults"] == 0


async def test_where_redis_is_gone_each_operation_says_so_at_once(
    frail: Service, own_redis: RedisServer
) -> None:
    scim = frail.scim
    await scim.user("ana")  # its token is known now, for a moment
    own_redis.stop()
    try:
        results = await sent(scim, *(user(f"u{n}", f"u{n}") for n in range(50)))
    finally:
        own_redis.start()
    assert statuses(results) == ["503"] * 50


async def test_a_long_chain_of_references_is_no_trouble(scim: Client) -> None:
    chain = [group(f"g{n}", f"g{n}", f"g{n + 1}") for n in range(300)]
    results = await sent(scim, *chain, group("g300", "g300"))
    assert statuses(results) == ["201"] * 301
