"""`doctor --as`: what a provider's administrator would see of a good endpoint, and of bad ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args

import pytest
from aiohttp import web

from app.cli.commands.doctor import PROVIDERS
from app.doctor.finding import Finding, Status
from app.doctor.provider import Provider, visit
from app.scim.messages import LIST_RESPONSE

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def of(findings: list[Finding], status: Status) -> list[str]:
    return [one.check for one in findings if one.status is status]


async def ask(url: str, provider: Provider, token: str = "x", **more: Any) -> list[Finding]:
    given: dict[str, Any] = {"domain": "acme.example", "read_only": False} | more
    return await visit(url, token, provider, **given)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_step_of_a_first_sync_goes_well_here_and_nothing_is_left(
    scim: Client, provider: Provider
) -> None:
    token = scim.authorization.removeprefix("Bearer ")
    found = await ask(scim.base, provider, token)
    assert {one.status for one in found} == {Status.OK}, found
    assert {"create a user", "deactivate a user", "taken away again"} <= {x.check for x in found}
    for endpoint in ("/Users", "/Groups"):
        assert (await scim("GET", endpoint)).json["totalResults"] == 0


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_connection_test_alone_makes_nobody(scim: Client, provider: Provider) -> None:
    token = scim.authorization.removeprefix("Bearer ")
    found = await ask(scim.base, provider, token, read_only=True)
    assert {one.status for one in found} == {Status.OK}
    assert await scim.last_seq() == 0


async def test_a_wrong_token_is_what_the_administrator_is_told(scim: Client) -> None:
    found = await ask(scim.base, "okta", "wrong-secret")
    assert of(found, Status.FAIL) == ["Test Connector Configuration"]
    assert "401" in found[-1].finding
    assert "token create" in found[-1].mend
    assert "wrong-secret" not in str(found)


async def test_a_domain_that_the_tenant_refuses_is_told_with_our_detail(
    scim: Client, service: Any
) -> None:
    other = service.other
    token = other.authorization.removeprefix("Bearer ")
    found = await ask(other.base, "entra", token, domain="elsewhere.example")
    assert of(found, Status.FAIL) == ["create a user"]
    assert "its domain is not one of this tenant's" in found[-1].finding
    assert (await other("GET", "/Users")).json["totalResults"] == 0


async def test_nobody_there_is_told_as_a_provider_sees_it() -> None:
    found = await ask("http://127.0.0.1:1/scim/acme/v2", "entra")
    assert of(found, Status.FAIL) == ["Test connection"]
    assert "can't be reached" in found[-1].finding


URLS = {
    "in clear": ("http://scim.acme.example/scim/acme/v2", "okta", "TLS"),
    "an underscore": ("https://scim_one.acme.example/scim/acme/v2", "okta", "without `_`"),
    "no URL": ("scim.acme.example", "entra", "https://HOST/scim/TENANT/v2"),
}


@pytest.mark.parametrize(("url", "provider", "mend"), URLS.values(), ids=URLS.keys())
async def test_a_base_url_that_the_provider_refuses_is_not_even_asked(
    url: str, provider: Provider, mend: str
) -> None:
    (found,) = await ask(url, provider)
    assert found.status is Status.FAIL
    assert mend in found.mend


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """Serve one handler for every path: an endpoint that is not ours."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v2"
    await runner.cleanup()


REFUSED = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": "401"}
EMPTY = {"schemas": [LIST_RESPONSE], "totalResults": 0, "Resources": []}
SOMEBODY = {"schemas": [LIST_RESPONSE], "totalResults": 1, "Resources": [{"id": "1"}]}
ENDPOINTS: dict[str, tuple[Provider, Any, str, str]] = {
    "a proxy's page": ("okta", "<html>Bad</html>", "Test Connector Configuration", "no JSON"),
    "a list that is none": ("okta", (200, {}), "Test Connector Configuration", "no ListResponse"),
    "open to everybody": ("okta", (200, EMPTY), "refusal without a token", "it got 200"),
    "everybody, whatever the filter": ("entra", (200, SOMEBODY), "Test connection", "not empty"),
    "nobody created": (
        "entra",
        [(200, EMPTY), (401, REFUSED), (200, EMPTY), (201, {})],
        "create a user",
        "no id",
    ),
}


@pytest.mark.parametrize(
    ("provider", "answers", "check", "told"), ENDPOINTS.values(), ids=ENDPOINTS.keys()
)
async def test_an_endpoint_that_is_wrong_fails_at_the_step_where_the_provider_stops(
    provider: Provider, answers: Any, check: str, told: str
) -> None:
    given = iter(answers) if isinstance(answers, list) else None

    async def answer(_: web.BaseRequest) -> web.Response:
        one = answers if given is None else next(given)
        if isinstance(one, str):
            return web.Response(text=one, content_type="text/html")
        status, body = one
        return web.json_response(body, status=status)

    async with serving(answer) as url:
        found = await ask(url, provider)
    assert of(found, Status.FAIL) == [check]
    assert told in found[-1].finding


def test_the_providers_of_the_command_are_those_that_are_known() -> None:
    assert get_args(Provider) == PROVIDERS
