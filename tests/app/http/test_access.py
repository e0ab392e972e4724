"""Who may ask: tokens, scopes, tenants, and what is told to those who may not."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import pytest

from app.directory import tokens
from app.directory.keys import Keys
from app.http.auth import CACHE_S, Authenticator
from app.http.failures import BURST, EVERY_S, Failures
from app.http.uses import TokenUses

if TYPE_CHECKING:
    from tests.app.http.conftest import Client, Service

HOME = "127.0.0.1"
WRONG = {
    "nothing": "",
    "no scheme": "chscim_000000000000_" + "0" * 64,
    "another scheme": "Digest chscim_000000000000_" + "0" * 64,
    "a token of nobody": "Bearer chscim_000000000000_" + "0" * 64,
    "no token of ours": "Bearer secret",
    "empty": "Bearer ",
    "Basic without colon": "Basic " + base64.b64encode(b"abc").decode(),
    "Basic that is no base64": "Basic !!!",
    "Basic that is no ASCII": "Basic ä",
    "Basic that is no UTF-8": "Basic " + base64.b64encode(b"\xff:\xff").decode(),
    "very long": "Bearer " + "a" * 7000,
}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("authorization", WRONG.values(), ids=WRONG.keys())
async def test_without_a_valid_token_nothing_is_told(scim: Client, authorization: str) -> None:
    """The same answer for every reason, also for tenants and paths that do not exist."""
    stranger = scim.with_token(authorization)
    told = set()
    for path in (
        f"//scim/{scim.tenant}/v2/Users",
        f"//scim/{scim.tenant}/v2/Users/none",
        f"//scim/{scim.tenant}/v2/Nothing",
        f"//scim/{scim.tenant}",
        "//scim/no-such-tenant/v2/Users",
        "//scim/-/v2/Users",
        "//scim/%7Bacme%7D/v2/Users",
        "//scim/",
    ):
        reply = await stranger("GET", path)
        assert reply.refuses(401)
        assert reply.headers["WWW-Authenticate"] == 'Bearer realm="scim", Basic realm="scim"'
        told.add((reply.raw, frozenset(reply.headers)))
    assert len(told) == 1


async def test_nothing_is_read_or_written_before_the_token_is_checked(scim: Client) -> None:
    stranger = scim.with_token("Bearer x")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        reply = await stranger(method, "/Users", data=b"{" * 100_000)
        assert reply.refuses(401)
    assert await scim.last_seq() == 0


async def test_a_token_is_good_as_bearer_and_as_basic(service: Service) -> None:
    scim = service.scim
    made = await tokens.create(service.link, scim.tenant, now_ms=service.receiver.clock.now_ms())
    for good in (f"Bearer {made.token}", f"bearer  {made.token} ", basic(made.id, made.secret)):
        assert (await scim.with_token(good)("GET", "/Users")).status == 200
    for bad in (
        f"Bearer {made.token[:-1]}0" if made.token[-1] != "0" else f"Bearer {made.token[:-1]}1",
        f"Bearer {made.token.upper()}",
        basic(made.id, made.secret[:-1]),
        basic(made.id, ""),
        basic("", made.secret),
        basic(made.secret, made.id),
    ):
        assert (await scim.with_token(bad)("GET", "/Users")).refuses(401)


async def test_a_token_opens_its_own_tenant_only(service: Service) -> None:
    scim, other = service.scim, service.other
    ana = await scim.user("ana")
    stranger = other.with_token(scim.authorization)
    for method, path in (
        ("GET", "/Users"),
        ("GET", f"/Users/{ana}"),
        ("DELETE", f"/Users/{ana}"),
        ("GET", "/ServiceProviderConfig"),
    ):
        assert (await stranger(method, path)).refuses(401)
    # With its own token the other tenant meets nothing of the first.
    assert (await other("GET", f"/Users/{ana}")).refuses(404)
    assert (await other("DELETE", f"/Users/{ana}")).refuses(404)
    assert (await other("GET", "/Users")).json["totalResults"] == 0
    assert (await other("GET", "/Users?filter=userName+eq+%22ana%22")).json["totalResults"] == 0
    assert await other.user("ana@acme.example") != ana
    assert (await scim("GET", f"/Users/{ana}")).status == 200


async def test_a_member_of_another_tenant_is_only_a_name(service: Service) -> None:
    ana = await service.scim.user("ana")
    team = await service.other.group("Team", ana)
    shown = (await service.other("GET", f"/Groups/{team}")).json["members"]
    assert shown == [{"value": ana}]
    assert (await service.scim("GET", f"/Users/{ana}")).json["groups"] == []


async def test_a_path_that_leaves_the_tenant_stays_outside(service: Service) -> None:
    scim, other = service.scim, service.other
    await other.user("secret@acme.example")
    for path in (
        f"/../../{other.tenant}/v2/Users",
        f"/%2e%2e/%2e%2e/{other.tenant}/v2/Users",
        f"/Users/..%2f..%2f..%2f{other.tenant}%2fv2%2fUsers",
        f"//scim/{scim.tenant}%2f..%2f{other.tenant}/v2/Users",
        f"//scim/{scim.tenant}/../{other.tenant}/v2/Users",
    ):
        reply = await scim("GET", path)
        assert reply.status in {401, 404}, path
        assert b"secret@acme" not in reply.raw


SCOPES = {
    "scim": (200, 201),
    "read": (200, 403),
    "ops": (403, 403),
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_bounds_what_a_token_may(service: Service, scope: str) -> None:
    made = await tokens.create(
        service.link,
        service.scim.tenant,
        now_ms=service.receiver.clock.now_ms(),
        scopes=[scope],
    )
    client = service.scim.with_token(f"Bearer {made.token}")
    got, posted = SCOPES[scope]
    assert (await client("GET", "/Users")).status == got
    assert (await client("HEAD", "/Users")).status == got
    reply = await client("POST", "/Users", {"userName": "ana"})
    assert reply.status == posted
    assert await service.scim.last_seq() == (posted == 201)


async def test_an_expired_token_is_refused(service: Service) -> None:
    link, now_ms = service.link, service.receiver.clock.now_ms()
    for lifetime_s, status in ((3600, 200), (0, 401), (-5, 401)):
        made = await tokens.create(
            link, service.scim.tenant, now_ms=now_ms, expires_in_s=lifetime_s
        )
        client = service.scim.with_token(f"Bearer {made.token}")
        assert (await client("GET", "/Users")).status == status
        await tokens.revoke(link, service.scim.tenant, made.id)


async def test_a_revoked_token_is_refused_within_the_time_that_is_promised(
    service: Service,
) -> None:
    link, tenant = service.link, service.scim.tenant
    made = await tokens.create(link, tenant, now_ms=service.receiver.clock.now_ms())
    client = service.scim.with_token(f"Bearer {made.token}")
    assert (await client("GET", "/Users")).status == 200
    assert await tokens.revoke(link, tenant, made.id)
    loop = asyncio.get_running_loop()
    revoked = loop.time()
    while (await client("GET", "/Users")).status == 200:
        assert loop.time() < revoked + CACHE_S + 0.2
    assert not await tokens.revoke(link, tenant, made.id)


class Clocks:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s

    def now_ms(self) -> int:
        return int(self.s * 1000)


async def test_what_was_admitted_is_believed_for_a_moment_only(service: Service) -> None:
    shards, link = service.receiver.shards, service.link
    tenant, clock = service.scim.tenant, Clocks()
    made = await tokens.create(link, tenant, now_ms=clock.now_ms(), expires_in_s=1)
    uses = TokenUses(shards, clock)  # type: ignore[arg-type]
    authenticator = Authenticator(shards, clock, uses, Failures(clock))  # type: ignore[arg-type]
    header = f"Bearer {made.token}"
    assert (await authenticator.check({tenant}, tenant, header, HOME)).id == made.id
    before = await link.redis.info("commandstats")
    clock.s += CACHE_S / 2
    await authenticator.check({tenant}, tenant, header, HOME)
    after = await link.redis.info("commandstats")
    assert before["cmdstat_hget"]["calls"] == after["cmdstat_hget"]["calls"]


async def test_a_token_is_good_from_its_networks_only(service: Service) -> None:
    link, now_ms = service.link, service.receiver.clock.now_ms()
    for networks, status in ((["127.0.0.0/8"], 200), (["10.0.0.0/8", "2001:db8::/32"], 401)):
        made = await tokens.create(link, service.scim.tenant, now_ms=now_ms, networks=networks)
        client = service.scim.with_token(f"Bearer {made.token}")
        assert (await client("GET", "/Users")).status == status
        await tokens.revoke(link, service.scim.tenant, made.id)


async def test_tries_that_fail_are_slowed_and_a_good_token_is_not(service: Service) -> None:
    stranger = service.scim.with_token("Bearer chscim_000000000000_" + "0" * 64)
    for number in range(100 * BURST):  # some are forgiven while this goes on
        reply = await stranger("GET", "/Users")
        if reply.status != 401:
            break
        assert number < 100 * BURST - 1
    assert number >= BURST
    assert reply.refuses(429)
    assert int(reply.headers["Retry-After"]) >= 1
    assert (await service.scim("GET", "/Users")).status == 200


def test_failed_tries_are_forgiven_in_time_and_are_each_addresss_own() -> None:
    clock = Clocks()
    failures = Failures(clock)  # type: ignore[arg-type]
    waits = [failures.note("203.0.113.7") for _ in range(4 * BURST)]
    assert waits[BURST - 1] is None
    assert waits[BURST] is not None
    assert waits[-1] == BURST * EVERY_S  # never for good
    assert failures.note("203.0.113.8") is None
    assert failures.note("") is None
    clock.s += 2 * BURST * EVERY_S
    assert failures.note("203.0.113.7") is None


def test_an_ipv6_network_of_a_customer_counts_as_one_address() -> None:
    failures = Failures(Clocks())  # type: ignore[arg-type]
    waits = [failures.note(f"2001:db8:1:2::{n:x}") for n in range(1, BURST + 2)]
    assert waits[-1] is not None
    assert failures.note("2001:db8:1:3::1") is None


async def test_when_a_token_was_last_used_is_kept(service: Service) -> None:
    link, tenant = service.link, service.scim.tenant
    before = service.receiver.clock.now_ms()
    assert (await service.scim("GET", "/Users")).status == 200
    await service.receiver.uses.flush()
    (record,) = await tokens.list_all(link, tenant)
    assert before <= (record.last_used_ms or 0) <= service.receiver.clock.now_ms()
    await tokens.revoke(link, tenant, record.id)
    await tokens.note_uses(link, tenant, {record.id: 1})
    assert not await link.redis.exists(Keys(tenant).uses)  # nothing is left of it


async def test_the_scope_ops_shows_lanes_and_dead_letters_and_nothing_else(
    service: Service,
) -> None:
    link, scim = service.link, service.scim
    made = await tokens.create(link, scim.tenant, now_ms=0, scopes=["ops"])
    ops = scim.with_token(f"Bearer {made.token}")
    await scim.user("ana")
    reply = await ops("GET", f"//ops/{scim.tenant}/lanes")
    assert reply.status == 200
    assert {(row["tenant"], row["last_seq"]) for row in reply.json} == {(scim.tenant, 1)}
    reply = await ops("GET", f"//ops/{scim.tenant}/deadletters")
    assert (reply.status, reply.json) == (200, [])
    assert (await ops("POST", f"//ops/{scim.tenant}/lanes")).status == 405
    assert (await ops("GET", "/Users")).refuses(403)
    assert (await scim("GET", f"//ops/{scim.tenant}/lanes")).refuses(403)
    assert (await ops("GET", f"//ops/{service.other.tenant}/lanes")).refuses(401)
    assert (await scim.with_token("")("GET", f"//ops/{scim.tenant}/lanes")).refuses(401)


NOT_THERE = ["/", "//", "/scim", "/index.html", "/scim-x/acme", "//scim/acme/v2/Users", "/%2fscim"]


@pytest.mark.parametrize("path", NOT_THERE)
async def test_everything_else_is_a_404_without_a_word_more(scim: Client, path: str) -> None:
    reply = await scim.with_token("")("GET", f"/{path}")
    assert reply.refuses(404)
    assert "acme" not in reply.raw.decode()
