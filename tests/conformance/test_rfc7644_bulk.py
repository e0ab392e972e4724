"""RFC 7644 §3.7 over HTTP: many operations in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Reply, Scim

BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

Operation = dict[str, Any]


def post(path: str, bulk_id: str, **data: Any) -> Operation:
    return {"method": "POST", "path": path, "bulkId": bulk_id, "data": data}


def created_id(operation: Operation) -> str:
    location: str = operation["location"]
    return location.rpartition("/")[2]


async def send(scim: Scim, *operations: Operation, **asked: Any) -> Reply:
    return await scim.post("/Bulk", {"schemas": [BULK], "Operations": operations} | asked)


async def done(scim: Scim, *operations: Operation, **asked: Any) -> list[Any]:
    body = (await send(scim, *operations, **asked)).ok(200).json
    assert body["schemas"] == [BULK_RESPONSE]
    results: list[Any] = body["Operations"]
    return results


async def test_3_7_each_operation_has_its_answer(scim: Scim) -> None:
    """Method, bulkId of a POST, location and status as a string; versions where there are some."""
    old, leaver = await scim.user("old"), await scim.user("leaver")
    title = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "T"}]}
    results = await done(
        scim,
        post("/Users", "q1", userName="new"),
        {"method": "PUT", "path": f"/Users/{old}", "data": {"userName": "older"}},
        {"method": "PATCH", "path": f"/Users/{old}", "data": title},
        {"method": "DELETE", "path": f"/Users/{leaver}"},
    )
    assert [r["status"] for r in results] == ["201", "200", "200", "204"]
    assert [r["method"] for r in results] == ["POST", "PUT", "PATCH", "DELETE"]
    assert results[0]["bulkId"] == "q1"
    assert results[0]["location"].startswith(f"{scim.base}/Users/")
    assert all(r["location"] == f"{scim.base}/Users/{old}" for r in results[1:3])
    user = (await scim.get(f"/Users/{old}")).json
    assert (user["userName"], user["title"]) == ("older", "T")
    assert results[2]["version"] == user["meta"]["version"]
    (await scim.get(f"/Users/{leaver}")).refused(404)


@pytest.mark.parametrize("group_first", [False, True])
async def test_3_7_2_a_bulk_id_stands_for_the_id_to_come(scim: Scim, group_first: bool) -> None:
    """Backwards and forwards: the group may come before its members."""
    user = post("/Users", "u", userName="new")
    group = post("/Groups", "g", displayName="new", members=[{"value": "bulkId:u"}])
    results = await done(scim, *((group, user) if group_first else (user, group)))
    ids = {result["bulkId"]: created_id(result) for result in results}
    assert [result["status"] for result in results] == ["201", "201"]
    assert await scim.members(ids["g"]) == [ids["u"]]
    assert not any("bulkid" in identifier.lower() for identifier in ids.values())


async def test_3_7_2_a_bulk_id_in_a_path_and_in_a_patch(scim: Scim) -> None:
    add = {"op": "add", "path": "members", "value": [{"value": "bulkId:u"}]}
    patch = {"schemas": [PATCH_OP], "Operations": [add]}
    results = await done(
        scim,
        post("/Groups", "g", displayName="g"),
        post("/Users", "u", userName="u"),
        {"method": "PATCH", "path": "/Groups/bulkId:g", "data": patch},
    )
    assert {r["status"] for r in results} <= {"200", "201", "204"}
    assert await scim.members(created_id(results[0])) == [created_id(results[1])]


async def test_3_7_1_a_circle_is_resolved_or_refused_with_409(scim: Scim) -> None:
    """Two groups that hold one another: not possible here, and none of it may hang or stay half."""
    results = await done(
        scim,
        post("/Groups", "a", displayName="a", members=[{"value": "bulkId:b"}]),
        post("/Groups", "b", displayName="b", members=[{"value": "bulkId:a"}]),
    )
    statuses = [result["status"] for result in results]
    assert set(statuses) <= {"201", "400", "409"}
    assert statuses != ["201", "201"], "a circle of groups gives nobody anything"


async def test_3_7_1_users_and_groups_that_name_one_another(scim: Scim) -> None:
    """The group holds the user, who is managed by the one that comes last."""
    enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    results = await done(
        scim,
        post("/Users", "u", userName="u", **{enterprise: {"manager": {"value": "bulkId:b"}}}),
        post("/Groups", "g", displayName="g", members=[{"value": "bulkId:u"}]),
        post("/Users", "b", userName="b", **{enterprise: {"manager": {"value": "bulkId:u"}}}),
    )
    assert [result["status"] for result in results] == ["201"] * 3
    ids = {result["bulkId"]: created_id(result) for result in results}
    manager = (await scim.get(f"/Users/{ids['u']}")).json[enterprise]["manager"]["value"]
    assert manager == ids["b"]
    assert await scim.members(ids["g"]) == [ids["u"]]


async def test_3_7_3_an_error_has_its_body_and_the_others_go_on(scim: Scim) -> None:
    await scim.user("taken")
    results = await done(
        scim,
        post("/Users", "1", userName="taken"),
        {"method": "DELETE", "path": "/Users/nobody"},
        post("/Users", "2", userName="free"),
    )
    assert [result["status"] for result in results] == ["409", "404", "201"]
    for result in results[:2]:
        assert result["response"]["schemas"] == [ERROR]
        assert result["response"]["status"] == result["status"]
    assert "location" not in results[0], "a POST that failed has none"
    assert len(await scim.find("Users", 'userName eq "free"')) == 1


async def test_3_7_3_after_so_many_errors_no_more_is_done(scim: Scim) -> None:
    await scim.user("taken")
    bad = [post("/Users", f"b{n}", userName="taken") for n in range(3)]
    good = post("/Users", "g", userName="too-late")
    results = await done(scim, bad[0], bad[1], good, bad[2], failOnErrors=2)
    assert [result["status"] for result in results[:2]] == ["409", "409"]
    assert len(results) == 2, "what was not tried has no answer"
    assert await scim.find("Users", 'userName eq "too-late"') == []


async def test_3_7_4_limits_are_announced_and_answered_with_413(scim: Scim) -> None:
    """The answer says which limit it was."""
    bulk = (await scim.get("/ServiceProviderConfig")).json["bulk"]
    assert bulk["supported"] is True
    most = bulk["maxOperations"]
    assert 0 < most <= 100_000
    operations = [{"method": "DELETE", "path": "/Users/nobody"}] * (most + 1)
    reply = (await send(scim, *operations)).refused(413)
    assert str(most) in reply.json["detail"]
    size = bulk["maxPayloadSize"]
    assert 0 < size <= 1 << 30
    reply = await scim.send("POST", "/Bulk", raw=b'{"a":"' + b"x" * size + b'"}')
    assert str(size) in reply.refused(413).json["detail"]


@pytest.mark.parametrize(
    "operation",
    [
        {"path": "/Users", "bulkId": "1", "data": {"userName": "x"}},
        {"method": "POST", "bulkId": "1", "data": {"userName": "x"}},
        {"method": "POST", "path": "/Users", "data": {"userName": "x"}},
        {"method": "POST", "path": "/Users", "bulkId": "1"},
        {"method": "GET", "path": "/Users"},
        {"method": "POST", "path": "/Nowhere", "bulkId": "1", "data": {}},
        {"method": "POST", "path": "/Bulk", "bulkId": "1", "data": {}},
        {"method": "POST", "path": "https://evil.example/Users", "bulkId": "1", "data": {}},
        {"method": "PATCH", "path": "/Users/bulkId:unknown", "data": {}},
        "POST",
    ],
    ids=str,
)
async def test_3_7_an_operation_that_lacks_something_is_an_error(
    scim: Scim, operation: Any
) -> None:
    """Of the whole request or of itself; nothing is done in either case."""
    reply = await send(scim, operation)
    if reply.status != 200:
        reply.refused(reply.status, reply.json.get("scimType"))
    else:
        (result,) = reply.json["Operations"]
        assert result["status"][0] == "4"
        assert result["response"]["schemas"] == [ERROR]
    assert (await scim.get("/Users")).json["totalResults"] == 0


async def test_3_7_a_version_is_a_precondition(scim: Scim) -> None:
    user = await scim.user("versioned")
    operation = {
        "method": "DELETE",
        "path": f"/Users/{user}",
        "version": 'W/"some other"',
    }
    (result,) = await done(scim, operation)
    assert result["status"] == "412"
    operation["version"] = (await scim.get(f"/Users/{user}")).json["meta"]["version"]
    (result,) = await done(scim, operation)
    assert result["status"] == "204"
