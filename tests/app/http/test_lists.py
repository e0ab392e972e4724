"""Lists, look-ups and discovery: what a client finds, and what it is told about the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from app.scim.applied import APPLIED_URN
from app.scim.validity import VALIDITY

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Reply

USER_URN = "urn:ietf:params:scim:schemas:core:2.0:User"


async def found(scim: Client, path: str) -> list[str]:
    """Return the names of what the list holds; its figures must agree."""
    body = (await scim("GET", path)).json
    resources: list[dict[str, Any]] = body["Resources"]
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]
    assert body["itemsPerPage"] == len(resources) <= body["totalResults"]
    return [r.get("userName") or r["displayName"] for r in resources]


@pytest.fixture
async def people(scim: Client) -> Client:
    """Five users and three groups."""
    ids = [
        await scim.user(f"u{n}@acme.example", externalId=f"Ext{n}", active=n % 2 == 0, title="Lead")
        for n in range(5)
    ]
    await scim.group("Admins", ids[0])
    await scim.group("Analysts", ids[0], ids[1])
    await scim.group("Nobody")
    return scim


LOOK_UPS = {
    "Okta": "userName%20eq%20%22u1%40acme.example%22&startIndex=1&count=100",
    "Entra ID": "userName+eq+%22U1%40ACME.example%22",
    "OneLogin, stray &": "userName+eq+%22u1@acme.example%22&",
    "authentik, unquoted": "userName+eq+u1@acme.example",
    "PingOne, any case": "username%20Eq%20%22u1@acme.example%22",
    "externalId": "externalId+eq+%22Ext1%22",
    "with a URN": f"{USER_URN}:userName%20eq%20%22u1@acme.example%22",
    "with more to check": "userName+eq+%22u1@acme.example%22+and+title+sw+%22le%22",
    "by a scan": "userName+sw+%22u1%22",
    "meta": "meta.resourceType+eq+%22User%22+and+externalId+eq+%22Ext1%22",
    "unknown parameters": "userName+eq+u1@acme.example&foo=bar&sortBy=title",
}


@pytest.mark.parametrize("query", LOOK_UPS.values(), ids=LOOK_UPS.keys())
async def test_every_dialect_finds_its_user(people: Client, query: str) -> None:
    assert await found(people, f"/Users?filter={query}") == ["u1@acme.example"]


MISSES = {
    "no such name": "userName+eq+%22nobody%22",
    "externalId in another case": "externalId+eq+%22ext1%22",
    "found but not fulfilled": "userName+eq+%22u1@acme.example%22+and+active+eq+true",
    "an id": "id+eq+%2200000000-0000-0000-0000-000000000000%22",
    "an odd id": "id+eq+%22../../users%5C%5C%22",
    "NUL": "externalId+eq+%22Ext1%5Cu0000%22",
    "bytes that are no text": "userName+eq+%22%FF%22",
}


@pytest.mark.parametrize("query", MISSES.values(), ids=MISSES.keys())
async def test_no_match_is_an_empty_list(people: Client, query: str) -> None:
    reply = await people("GET", f"/Users?filter={query}")
    assert reply.status == 200
    assert (reply.json["totalResults"], reply.json["Resources"]) == (0, [])


BAD_FILTERS = [
    "userName",
    "userName+eq",
    'userName+eq+"a',
    "userName+eq+a+b",
    'shoeSize+eq+"38"',
    '(userName+eq+"a"',
    'userName+eq+"a"+or',
    "",
    "active+eq+1",
    '"+or+1+eq+1',
    "userName+xx+%22a%22",
    "(" * 100 + "active+pr" + ")" * 100,
]


@pytest.mark.parametrize("query", BAD_FILTERS)
async def test_a_bad_filter_is_an_error_and_neither_nobody_nor_everybody(
    people: Client, query: str
) -> None:
    assert (await people("GET", f"/Users?filter={query}")).refuses(400, "invalidFilter", "filter")


async def test_groups_are_found_by_their_members(people: Client) -> None:
    ids = [u["id"] for u in (await people("GET", "/Users")).json["Resources"]]

    async def groups(filter_: str) -> list[str]:
        return sorted(await found(people, f"/Groups?filter={quote(filter_)}"))

    for form in ('members eq "{}"', 'members.value eq "{}"', 'members[value eq "{}"]'):
        assert await groups(form.format(ids[1])) == ["Analysts"]
        assert await groups(form.format(ids[0])) == ["Admins", "Analysts"]
        assert await groups(f'displayName eq "admins" and {form.format(ids[1])}') == []
        assert await groups(f'displayName eq "admins" and not ({form.format(ids[1])})') == [
            "Admins"
        ]
        assert await groups(f"displayName pr and {form.format(ids[0])}") == ["Admins", "Analysts"]
    either = f'members eq "{ids[1]}" or displayName eq "nobody"'
    assert await groups(either) == ["Analysts", "Nobody"]
    mixed = 'displayName sw "a" and (members.type eq "User" or members eq "nobody")'
    assert await groups(mixed) == ["Admins", "Analysts"]
    assert await groups("members pr") == ["Admins", "Analysts"]
    assert await groups("not (members pr)") == ["Nobody"]
    assert await groups('members.type eq "User"') == ["Admins", "Analysts"]
    assert await groups('members eq "somebody"') == []


async def test_users_are_found_by_their_groups(people: Client) -> None:
    groups = (await people("GET", "/Groups")).json["Resources"]
    query = quote(f'groups eq "{groups[1]["id"]}"')
    assert await found(people, f"/Users?filter={query}") == ["u0@acme.example", "u1@acme.example"]


PAGES = {
    "": ([0, 1, 2, 3, 4], 1),
    "startIndex=1&count=2": ([0, 1], 1),
    "startIndex=3&count=2": ([2, 3], 3),
    "startIndex=5&count=2": ([4], 5),
    "startIndex=6": ([], 6),
    "startIndex=0&count=1": ([0], 1),
    "startIndex=-7&count=1": ([0], 1),
    "count=0": ([], 1),
    "count=-1": ([], 1),
    "startIndex=99999999999999999999999999&count=99999999999999999": ([], 2**53),
}


@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
@pytest.mark.parametrize("page", PAGES)
async def test_pages_are_parts_of_one_stable_list(
    people: Client, page: str, filtered: bool
) -> None:
    numbers, start = PAGES[page]
    query = f"{page}&filter=title+eq+%22lead%22" if filtered else page
    reply = await people("GET", f"/Users?{query}")
    assert (reply.json["totalResults"], reply.json["startIndex"]) == (5, start)
    names = [r["userName"] for r in reply.json["Resources"]]
    assert names == [f"u{n}@acme.example" for n in numbers]


@pytest.mark.parametrize("page", ["startIndex=one", "count=1.5", "count=", "startIndex=%00"])
async def test_a_page_that_is_no_number_is_named(people: Client, page: str) -> None:
    reply = await people("GET", f"/Users?{page}")
    assert reply.refuses(400, "invalidValue", page.partition("=")[0])


async def test_pages_have_the_size_that_is_configured(people: Client) -> None:
    limits = people.receiver.settings.limits.model_copy(update={"default_page": 2, "max_page": 3})
    people.receiver.settings = people.receiver.settings.model_copy(update={"limits": limits})
    assert len(await found(people, "/Users")) == 2
    assert len(await found(people, "/Users?count=5")) == 3
    assert len(await found(people, "/Users?filter=active+pr")) == 2
    config = await people("GET", "/ServiceProviderConfig")
    assert config.json["filter"] == {"supported": True, "maxResults": 3}


async def test_a_list_that_is_longer_than_one_reading_is_searched_whole(scim: Client) -> None:
    directory = scim.receiver.tenants[scim.tenant].directory
    pipe = scim.link.redis.pipeline(transaction=False)
    await scim.user("first")
    keys = directory._keys
    stored = await scim.link.redis.get(
        keys.resource("user", (await directory.page("user", 0, 1))[0])
    )
    assert stored is not None
    for number in range(1200):
        name = f"user{number}".encode()
        pipe.set(keys.resource("user", name.decode()), stored.replace(b"first", name))
        pipe.zadd(keys.order("user"), {name.decode(): number + 2})
    await pipe.execute()
    reply = await scim("GET", "/Users?filter=userName+ew+%2299%22&count=1")
    assert reply.json["totalResults"] == 12


async def test_the_service_tells_the_truth_about_itself(scim: Client) -> None:
    config = (await scim("GET", "/ServiceProviderConfig")).json
    assert config["patch"] == {"supported": True}
    assert config["filter"] == {"supported": True, "maxResults": 1000}
    for held in ("sort", "etag"):
        assert config[held] == {"supported": True}
    assert config["changePassword"] == {"supported": False}  # this tenant's users have none
    assert config["bulk"] == {
        "supported": True,
        "maxOperations": 1000,
        "maxPayloadSize": 10 * 1024 * 1024,
    }
    assert config["pagination"] == {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": 100,
        "maxPageSize": 1000,
        "cursorTimeout": 3600,
    }
    assert (await scim("GET", "/ServiceProviderConfig?filter=id+pr")).refuses(403)
    schemes = [scheme["type"] for scheme in config["authenticationSchemes"]]
    assert schemes == ["oauthbearertoken", "httpbasic"]
    assert config["meta"]["location"] == f"{scim.base}/ServiceProviderConfig"


DISCOVERY = {
    "ResourceTypes": ["User", "Group", "Agent", "AgenticApplication"],
    "Schemas": [
        USER_URN,
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User",
        "urn:ietf:params:scim:schemas:core:2.0:Group",
        "urn:ietf:params:scim:schemas:core:2.0:Agent",
        "urn:ietf:params:scim:schemas:core:2.0:AgenticApplication",
        VALIDITY.id,
        APPLIED_URN,
    ],
}


@pytest.mark.parametrize("endpoint", DISCOVERY)
async def test_discovery_lists_and_tells_one_by_name(scim: Client, endpoint: str) -> None:
    listed = (await scim("GET", f"/{endpoint}")).json
    assert listed["totalResults"] == listed["itemsPerPage"] == len(listed["Resources"])
    assert {r["id"] for r in listed["Resources"]} == {*DISCOVERY[endpoint]}
    for resource in listed["Resources"]:
        for name in (resource["id"], resource["id"].upper(), quote(resource["id"], safe="")):
            one = await scim("GET", f"/{endpoint}/{name}")
            assert one.json == resource
        at = resource["meta"]["location"]
        assert at == f"{scim.base}/{endpoint}/{resource['id']}"
    assert (await scim("GET", f"/{endpoint}/Nothing")).refuses(404)
    assert (await scim("GET", f"/{endpoint}?filter=id+pr")).refuses(403)
    assert (await scim("POST", f"/{endpoint}", {})).refuses(405)


HEADS = ["/Users", "/Groups", "/ServiceProviderConfig", "/Schemas", "/Users/none"]


@pytest.mark.parametrize("path", HEADS)
async def test_a_head_says_what_a_get_would_without_the_body(scim: Client, path: str) -> None:
    head: Reply = await scim("HEAD", path)
    got = await scim("GET", path)
    assert (head.status, head.raw) == (got.status, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers[name] == got.headers[name]
