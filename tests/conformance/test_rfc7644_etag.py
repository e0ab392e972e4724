"""RFC 7644 §3.14 over HTTP: versions as entity tags, and requests that depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
TITLE = {"schemas": [PATCH_OP], "Operations": [{"op": "add", "path": "title", "value": "T"}]}


async def test_3_14_the_tag_is_a_header_and_the_version(scim: Scim) -> None:
    user, group = await scim.user(), await scim.group()
    for path in (f"/Users/{user}", f"/Groups/{group}"):
        reply = (await scim.get(path)).ok(200)
        assert reply.headers["ETag"] == reply.json["meta"]["version"]
    put = (await scim.put(f"/Users/{user}", {"userName": "n"})).ok(200)
    assert put.headers["ETag"] == put.json["meta"]["version"]
    assert (await scim.get("/ServiceProviderConfig")).json["etag"]["supported"] is True


async def test_3_14_an_unchanged_resource_is_304_without_a_body(scim: Scim) -> None:
    path = f"/Users/{await scim.user()}"
    tag = (await scim.get(path)).headers["ETag"]
    same = await scim.send("GET", path, headers={"If-None-Match": tag})
    assert (same.status, same.raw) == (304, b"")
    several = await scim.send("GET", path, headers={"If-None-Match": f'W/"other", {tag}'})
    assert several.status == 304
    (await scim.send("GET", path, headers={"If-None-Match": 'W/"other"'})).ok(200)
    (await scim.send("PATCH", path, TITLE)).ok(200)
    (await scim.send("GET", path, headers={"If-None-Match": tag})).ok(200)


@pytest.mark.parametrize(
    ("method", "body"),
    [("PUT", {"userName": "n"}), ("PATCH", TITLE), ("DELETE", None)],
)
async def test_3_14_a_write_that_saw_an_older_version_changes_nothing(
    scim: Scim, method: str, body: Any
) -> None:
    path = f"/Users/{await scim.user()}"
    old = (await scim.get(path)).headers["ETag"]
    nickname = {"op": "add", "path": "nickName", "value": "N"}
    (await scim.patch(path, nickname)).ok(200)
    before = await scim.get(path)
    (await scim.send(method, path, body, headers={"If-Match": old})).refused(412)
    assert (await scim.get(path)).raw == before.raw
    new = before.headers["ETag"]
    (await scim.send(method, path, body, headers={"If-Match": new})).ok(200, 204)


async def test_3_14_any_version_will_do_for_a_star(scim: Scim) -> None:
    path = f"/Users/{await scim.user()}"
    (await scim.send("PATCH", path, TITLE, headers={"If-Match": "*"})).ok(200)
    gone = await scim.send("PATCH", "/Users/nobody", TITLE, headers={"If-Match": "*"})
    assert gone.status in {404, 412}


async def test_3_14_membership_is_part_of_a_groups_version(scim: Scim) -> None:
    path = f"/Groups/{await scim.group()}"
    old = (await scim.get(path)).headers["ETag"]
    add = {"op": "add", "path": "members", "value": [{"value": "m"}]}
    (await scim.patch(path, add)).ok()
    body = {"schemas": [PATCH_OP], "Operations": [add]}
    (await scim.send("PATCH", path, body, headers={"If-Match": old})).refused(412)
