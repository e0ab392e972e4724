"""What is told of lanes in SCIM, and what is counted of an identity provider's quirks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.directory.lanes import LaneStore
from app.directory.quirks import QuirkLog
from app.scim.applied import APPLIED_URN
from app.scim.quirks import Quirk

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Service


async def told(scim: Client, path: str) -> Any:
    reply = await scim("GET", path)
    assert reply.status == 200
    return reply.json


async def test_how_far_a_resource_has_come_is_told_on_request_only(scim: Client) -> None:
    ana = await scim.user("ana")
    assert APPLIED_URN not in await told(scim, f"/Users/{ana}")
    asked = f"attributes=userName,{APPLIED_URN}"
    one = await told(scim, f"/Users/{ana}?{asked}")
    (target,) = one[APPLIED_URN]["targets"]
    assert (target["value"], target["applied"], target["appliedSeq"]) == ("main", False, 0)
    assert APPLIED_URN in one["schemas"]
    (listed,) = (await told(scim, f"/Users?{asked}"))["Resources"]
    assert listed[APPLIED_URN]["targets"][0]["value"] == "main"
    lane = LaneStore(scim.link, scim.tenant, "main")
    key = f"scim:{{{scim.tenant}}}:lane:main"
    await scim.link.redis.hset(key, "cursor", "1")  # type: ignore[misc]
    assert (await lane.status()).applied_seq == 1
    one = await told(scim, f"/Users/{ana}?{asked}")
    assert one[APPLIED_URN]["targets"][0]["applied"] is True
    made = await scim("POST", f"/Users?{asked}", {"userName": "bo"})
    assert made.json[APPLIED_URN]["targets"][0]["applied"] is False


async def test_nobody_can_search_for_it(scim: Client) -> None:
    await scim.user("ana")
    filtered = f"/Users?filter={APPLIED_URN}:targets.value+eq+%22main%22"
    assert (await scim("GET", filtered)).refuses(400, "invalidFilter")
    assert (await scim("GET", f"/Users?sortBy={APPLIED_URN}:targets")).refuses(400, "invalidValue")


async def test_quirks_are_counted_once_for_each_request(service: Service) -> None:
    scim = service.scim
    ana = (await scim("POST", "/Users", {"userName": "ana", "active": "True"})).id
    operation = {"op": "Replace", "path": "active", "value": "False"}
    for _ in range(2):
        await scim("PATCH", f"/Users/{ana}", {"Operations": [operation, operation]})
    await scim("GET", "/Users?filter=userName+eq+ana")
    await scim("PATCH", f"/Users/{ana}", {"Operations": [{"op": "Nonsense"}]})  # refused
    await service.receiver.quirks.flush()
    seen = {s.quirk: s.count for s in await QuirkLog(scim.link, scim.tenant).read()}
    assert seen == {
        Quirk.BOOLEAN_AS_TEXT: 3,
        Quirk.SCHEMAS_MISSING: 3,
        Quirk.OP_IN_CAPITALS: 2,
        Quirk.VALUE_WITHOUT_QUOTES: 1,
    }
    assert await QuirkLog(scim.link, service.other.tenant).read() == []
