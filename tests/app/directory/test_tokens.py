"""Tokens: what is stored of them, and which credential one admits."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from app.directory import tokens
from app.directory.tokens import Credential, parse_authorization
from app.errors import TooManyTokens

if TYPE_CHECKING:
    from tests.app.directory.conftest import Tenant

ID, SECRET = "0123456789ab", "c" * 64


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


READ = {
    "Bearer": (f"Bearer chscim_{ID}_{SECRET}", Credential(ID, SECRET)),
    "in any case": (f"bEARER  chscim_{ID}_{SECRET} ", Credential(ID, SECRET)),
    "Basic": (basic(f"{ID}:{SECRET}"), Credential(ID, SECRET)),
    "Basic with a colon in it": (basic("a:b:c"), Credential("a", "b:c")),
    "Basic without one": (basic("abc"), Credential("abc", "")),
    "no header": (None, None),
    "empty": ("", None),
    "no scheme": (f"chscim_{ID}_{SECRET}", None),
    "short secret": (f"Bearer chscim_{ID}_{SECRET[1:]}", None),
    "long secret": (f"Bearer chscim_{ID}_{SECRET}0", None),
    "a line more": (f"Bearer chscim_{ID}_{SECRET}\n", Credential(ID, SECRET)),
    "Basic, no base64": ("Basic a:b", None),
    "Basic, no ASCII": ("Basic \udcff", None),
    "Basic, no UTF-8": ("Basic " + base64.b64encode(b"\xff").decode(), None),
    "another scheme": (f"Token chscim_{ID}_{SECRET}", None),
}


@pytest.mark.parametrize(("header", "credential"), READ.values(), ids=READ.keys())
def test_a_header_is_read_as_a_credential(
    header: str | None, credential: Credential | None
) -> None:
    assert parse_authorization(header) == credential


async def test_of_a_token_only_a_hash_is_kept(tenant: Tenant) -> None:
    made = await tokens.create(tenant.link, tenant.name, now_ms=0)
    assert made.token == f"chscim_{made.id}_{made.secret}"
    for value in (await tenant.everything()).values():
        assert made.secret.encode() not in value
    for shown in (repr(made), repr(Credential(made.id, made.secret))):
        assert made.secret not in shown
    (kept,) = await tokens.list_all(tenant.link, tenant.name)
    assert made.secret not in repr(kept)


async def test_a_token_admits_its_own_secret_until_it_ends(tenant: Tenant) -> None:
    made = await tokens.create(tenant.link, tenant.name, now_ms=1000, expires_in_s=2)
    other = await tokens.create(tenant.link, tenant.name, now_ms=1001)
    own = Credential(made.id, made.secret)

    async def admitted(credential: Credential, now_ms: int) -> bool:
        found = await tokens.authenticate(tenant.link, tenant.name, credential, now_ms)
        return found is not None

    assert await admitted(own, 2999)
    assert not await admitted(own, 3000)
    for wrong in (
        Credential(made.id, other.secret),
        Credential(other.id, made.secret),
        Credential("", ""),
        Credential(made.id, ""),
    ):
        assert not await admitted(wrong, 1000)
    assert await tokens.revoke(tenant.link, tenant.name, made.id)
    assert not await admitted(own, 1000)
    assert [t.id for t in await tokens.list_all(tenant.link, tenant.name)] == [other.id]


async def test_a_token_opens_no_other_tenant(tenant: Tenant, other_tenant: Tenant) -> None:
    made = await tokens.create(tenant.link, tenant.name, now_ms=0)
    credential = Credential(made.id, made.secret)
    assert await tokens.authenticate(tenant.link, other_tenant.name, credential, 0) is None


async def test_an_end_comes_earlier_but_never_later(tenant: Tenant) -> None:
    made = await tokens.create(tenant.link, tenant.name, now_ms=0)
    for end_ms, ends_ms in ((5000, 5000), (9000, 5000), (100, 100)):
        assert await tokens.end_at(tenant.link, tenant.name, made.id, end_ms)
        (kept,) = await tokens.list_all(tenant.link, tenant.name)
        assert kept.expires_ms == ends_ms
    assert not await tokens.end_at(tenant.link, tenant.name, "nobody", 1)


async def test_a_tenant_has_two_active_tokens_of_a_kind_and_their_successors(
    tenant: Tenant,
) -> None:
    link, name = tenant.link, tenant.name
    first = await tokens.create(link, name, now_ms=0, expires_in_s=10)
    await tokens.create(link, name, now_ms=0)
    with pytest.raises(TooManyTokens):
        await tokens.create(link, name, now_ms=0)
    await tokens.create(link, name, now_ms=0, scopes=["read"])  # of another kind
    record = next(one for one in await tokens.list_all(link, name) if one.id == first.id)
    successor = await tokens.create(link, name, now_ms=0, instead_of=record)
    record = next(one for one in await tokens.list_all(link, name) if one.id == first.id)
    assert record.replaced_by == successor.id
    credential = parse_authorization(f"Bearer {first.token}")
    assert credential is not None
    assert await tokens.authenticate(link, name, credential, 1000) is not None  # still good
    with pytest.raises(TooManyTokens):
        await tokens.create(link, name, now_ms=0)


async def test_a_token_that_has_ended_makes_room(tenant: Tenant) -> None:
    for _ in range(2):
        await tokens.create(tenant.link, tenant.name, now_ms=0, expires_in_s=1)
    await tokens.create(tenant.link, tenant.name, now_ms=1000)
