"""RFC 7644 §3.4.2.1, §3.4.2.3 and §3.4.3 over HTTP: the root, an order, and queries by POST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


async def search(scim: Scim, path: str, **asked: Any) -> Any:
    return (await scim.post(path, {"schemas": [SEARCH]} | asked)).ok(200).json


async def test_3_4_3_a_post_to_search_is_a_query_and_creates_nothing(scim: Scim) -> None:
    for name in ("ana", "bo", "cy"):
        await scim.user(name, title="T")
    asked = {"filter": "title pr", "attributes": ["userName"], "startIndex": 2, "count": 1}
    body = await search(scim, "/Users/.search", **asked)
    assert body["schemas"] == [LIST]
    assert (body["totalResults"], body["startIndex"], body["itemsPerPage"]) == (3, 2, 1)
    (found,) = body["Resources"]
    assert found.keys() == {"schemas", "id", "userName"}
    excluded = await search(scim, "/Users/.search", excludedAttributes=["title"])
    assert not any("title" in user for user in excluded["Resources"])
    assert (await scim.get("/Users")).json["totalResults"] == 3


async def test_3_4_3_a_query_by_post_is_refused_like_one_by_get(scim: Scim) -> None:
    body = {"schemas": [SEARCH], "filter": "title is"}
    (await scim.post("/Users/.search", body)).refused(400, "invalidFilter")
    (await scim.post("/Users/.search", [])).refused(400, "invalidSyntax")
    both = {"schemas": [SEARCH], "attributes": ["id"], "excludedAttributes": ["title"]}
    (await scim.post("/Users/.search", both)).refused(400, "invalidValue")


@pytest.mark.parametrize("by_post", [True, False])
async def test_3_4_2_1_at_the_root_every_type_is_looked_through(scim: Scim, by_post: bool) -> None:
    """An attribute that a type doesn't have counts there as one without a value."""
    user, group = await scim.user("u", displayName="X"), await scim.group("X")
    other = await scim.user("only")

    async def ids(filter_: str) -> set[str]:
        if by_post:
            found = (await search(scim, "/.search", filter=filter_))["Resources"]
        else:
            found = await scim.find("", filter_)
        return {resource["id"] for resource in found}

    assert await ids('displayName eq "X"') == {user, group}
    assert await ids('userName eq "only"') == {other}
    assert await ids("not (userName pr)") == {group}
    assert await ids('meta.resourceType eq "Group"') == {group}


async def test_3_4_2_3_an_order_by_an_attribute(scim: Scim) -> None:
    """Ascending unless told otherwise; without regard to case where the schema says so."""
    for name, title in (("c", "beta"), ("a", "Alpha"), ("d", "ALPHB"), ("b", None)):
        await scim.user(name, title=title)

    async def order(query: str) -> list[str]:
        body = (await scim.get(f"/Users?{query}")).ok(200).json
        return [user["userName"] for user in body["Resources"]]

    assert await order("sortBy=userName") == ["a", "b", "c", "d"]
    assert await order("sortBy=userName&sortOrder=ascending") == ["a", "b", "c", "d"]
    assert await order("sortBy=userName&sortOrder=descending") == ["d", "c", "b", "a"]
    assert await order("sortBy=title") == ["a", "d", "c", "b"], "no value comes last"
    assert await order("sortBy=title&sortOrder=descending") == ["b", "c", "d", "a"], "or first"
    assert await order("sortBy=userName&startIndex=2&count=2") == ["b", "c"]
    assert await order("sortBy=userName&filter=title%20pr") == ["a", "c", "d"]


async def test_3_4_2_3_several_values_are_ordered_by_their_primary_one(scim: Scim) -> None:
    first = [{"value": "z@x"}, {"value": "a@x", "primary": True}]
    await scim.user("primary", emails=first)
    await scim.user("plain", emails=[{"value": "m@x"}, {"value": "b@x"}])
    body = (await scim.get("/Users?sortBy=emails.value")).ok(200).json
    assert [user["userName"] for user in body["Resources"]] == ["primary", "plain"]
    config = (await scim.get("/ServiceProviderConfig")).json
    assert config["sort"]["supported"] is True


async def test_3_4_2_3_an_order_by_nothing_known_is_refused(scim: Scim) -> None:
    reply = await scim.get("/Users?sortBy=noSuchThing")
    assert reply.status in {200, 400}
    if reply.status == 400:
        reply.refused(400, reply.json.get("scimType"))
