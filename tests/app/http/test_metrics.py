"""What the receiver counts, and what a write costs in Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Service


async def samples(scim: Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what /metrics says, read as Prometheus reads it."""
    reply = await scim("GET", "//metrics")
    assert reply.headers["Content-Type"] == "text/plain; version=0.0.4"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(reply.raw.decode())
        for sample in family.samples
    }


async def test_requests_and_events_are_counted(scim: Client) -> None:
    await scim.user("ana")
    await scim("POST", "/Users", {"userName": "ana"})
    await scim.with_token("")("GET", "/Users")
    found = await samples(scim)

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    # Other tests count in the same Redis, so of what has no tenant there is at least this.
    assert value("scim_requests_total", method="POST", resource="Users", status="201") >= 1
    assert value("scim_requests_total", method="POST", resource="Users", status="409") >= 1
    assert value("scim_requests_total", method="GET", resource="-", status="401") >= 1
    assert value("scim_request_seconds_count", method="POST", resource="Users") >= 2
    assert value("scim_commit_seconds_count") >= 1
    assert value("scim_tenant_requests_total", tenant=scim.tenant, result="ok") == 1
    assert value("scim_tenant_requests_total", tenant=scim.tenant, result="refused") == 1
    assert value("scim_events_total", tenant=scim.tenant) == 1


async def test_a_client_cannot_make_the_labels_grow(scim: Client) -> None:
    await scim("GET", "/Users")
    before = len(await samples(scim))
    for n in range(20):
        await scim(f"ODD{n}", f"/odd{n}")
        await scim.with_token(f"Bearer {n}")(f"ODD{n}", f"//scim/odd{n}/v2/Users")
        await scim("GET", f"/Users/odd{n}")
    # Three more (method, resource, status) at most, each a counter, and two more histograms.
    assert len(await samples(scim)) <= before + 60
    assert not any("odd" in str(labels) for _, labels in await samples(scim))


WRITES: dict[str, tuple[str, str, Any]] = {
    "create": ("POST", "/Users", {"userName": "bo"}),
    "create a group": ("POST", "/Groups", {"displayName": "New", "members": ["a", "b"]}),
    "put": ("PUT", "/Users/{ana}", {"userName": "ana", "active": False}),
    "patch": ("PATCH", "/Users/{ana}", {"Operations": [{"op": "add", "value": {"title": "x"}}]}),
    "rename": (
        "PATCH",
        "/Users/{ana}",
        {"Operations": [{"op": "add", "value": {"userName": "x"}}]},
    ),
    "members": (
        "PATCH",
        "/Groups/{team}",
        {"Operations": [{"op": "add", "path": "members", "value": [{"value": "b"}]}]},
    ),
    "put a group": ("PUT", "/Groups/{team}", {"displayName": "Team", "members": ["c"]}),
    "delete": ("DELETE", "/Users/{ana}", None),
    "delete a group": ("DELETE", "/Groups/{team}", None),
}
# What a script calls is in its own line of MONITOR, as `lua`; arq's wake-ups are no tenant's keys.
READS = {"get", "mget", "hget", "zrange", "zcard", "zmscore", "evalsha", "evalsha_ro"}
# After an EVALSHA that was refused, since nobody had run the script there yet.
FIRST = {"eval", "eval_ro"}
# Behind the answer: that a creation has been answered. Those of one turn of the loop are one call.
BEHIND = {"hdel"}


@pytest.mark.parametrize(("method", "path", "body"), WRITES.values(), ids=WRITES.keys())
async def test_each_write_is_one_lua_call(
    frail: Service, method: str, path: str, body: Any
) -> None:
    scim = frail.scim
    ana = await scim.user("ana")
    team = await scim.group("Team", ana, "x")
    redis = frail.link.redis
    async with asyncio.timeout(10), redis.monitor() as monitor:
        reply = await scim(method, path.format(ana=ana, team=team), body)
        assert reply.status in {200, 201, 204}
        await redis.echo("the end")
        calls: list[str] = []
        async for line in monitor.listen():
            command = str(line["command"])
            if "the end" in command:
                break
            if scim.tenant in command and line["client_type"] != "lua":
                calls.append(command.split(maxsplit=1)[0].lower())
    assert calls.count("evalsha") == 1
    assert set(calls) <= READS | FIRST | BEHIND
