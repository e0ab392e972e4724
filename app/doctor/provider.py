"""A live endpoint, asked as an identity provider would ask it: its connection test, its first sync.

What is sent is what the providers send (docs/okta.md, docs/entra.md); what is judged is what they
need in the answer. The user and the group that a sync makes are taken away again at the end.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote_plus, urlsplit

import aiohttp

from app.doctor.finding import Finding, Status, fail, ok, warn
from app.scim.messages import LIST_RESPONSE, PATCH_OP
from app.scim.schema import ENTERPRISE_URN, GROUP_URN, USER_URN

Provider = Literal["okta", "entra"]

ANSWER_S = 60.0  # Okta gives up after this
_SLOW_S = 10.0
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a provider introduces itself, and what its administrator presses and sees."""

    name: str
    media_type: str
    headers: Mapping[str, str]
    test: str
    sync: str


DIALECTS: Mapping[Provider, Dialect] = {
    "okta": Dialect(
        name="Okta",
        media_type="application/scim+json; charset=utf-8",
        headers={"User-Agent": "Okta SCIM Client 1.0.0", "Accept": "application/scim+json"},
        test="Test Connector Configuration",
        sync="the first assignment",
    ),
    "entra": Dialect(
        name="Entra",
        media_type="application/scim+json",
        headers={"Accept": "application/scim+json"},
        test="Test connection",
        sync="Provision on demand",
    ),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """`json`: None where the body is empty or no JSON; `text`: its beginning."""

    status: int
    json: Any
    text: str
    seconds: float

    @property
    def detail(self) -> str:
        """What an administrator would be shown of an error."""
        told = self.json.get("detail") if isinstance(self.json, dict) else None
        return str(told or self.text)[:_SHOWN]

    @property
    def resources(self) -> list[Any] | None:
        """The resources of a list; None if it is none."""
        body = self.json
        is_list = isinstance(body, dict) and LIST_RESPONSE in body.get("schemas", ())
        return body.get("Resources", []) if is_list else None

    @property
    def id(self) -> str | None:
        found = self.json.get("id") if isinstance(self.json, dict) else None
        return found if isinstance(found, str) else None


class _Stopped(Exception):
    """A provider would go no further than this finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.finding)
        self.finding = finding


class Visit:
    """One provider at one base URL. Findings are collected in their order."""

    def __init__(
        self, http: aiohttp.ClientSession, base_url: str, token: str, dialect: Dialect
    ) -> None:
        self._http, self._base, self._dialect = http, base_url.rstrip("/"), dialect
        self._authorization = f"Bearer {token}"
        self.subject = self._base

    async def ask(
        self, check: str, method: str, path: str, body: object = None, *, token: bool = True
    ) -> Reply:
        """Send a request as the provider does. Raises _Stopped if nobody answers in SCIM's form."""
        headers = dict(self._dialect.headers)
        if token:
            headers["Authorization"] = self._authorization
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = self._dialect.media_type
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with self._http.request(
                method, self._base + path, data=data, headers=headers, allow_redirects=False
            ) as response:
                text = (await response.read()).decode(errors="replace")
                status = response.status
        except (aiohttp.ClientError, OSError) as error:
            raise _Stopped(self._no_answer(check, error)) from error
        seconds = clock() - started
        try:
            parsed = json.loads(text) if text else None
        except ValueError:
            raise _Stopped(self._no_json(check, status, text)) from None
        return Reply(status, parsed, text, seconds)

    def _no_answer(self, check: str, error: Exception) -> Finding:
        name = self._dialect.name
        if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLError):
            told, mend = (
                "its certificate is not trusted",
                "give the proxy a certificate of a public authority, with its whole chain",
            )
        elif isinstance(error, TimeoutError):
            told, mend = f"no answer within {ANSWER_S:.0f} s", "see /readyz, and the receiver's log"
        else:
            told, mend = (
                "it can't be reached",
                "see that name, port and firewall let the provider's network in",
            )
        return fail(check, self.subject, f"{name} sees no answer: {told}", mend)

    def _no_json(self, check: str, status: int, text: str) -> Finding:
        told = f"{status} with a body that is no JSON ({text.strip()[:60]!r})"
        return fail(
            check,
            self.subject,
            f"{self._dialect.name} reports an answer that it can't read: {told}",
            "the URL leads to something else, or a proxy answers: the base is /scim/TENANT/v2",
        )

    def judged(self, check: str, reply: Reply, *problems: str | None) -> Finding:
        """Return the finding; raise it where the provider would stop, which is at any problem."""
        problem = next((problem for problem in problems if problem), None)
        if problem is None:
            if reply.seconds > _SLOW_S:
                told = f"it took {reply.seconds:.0f} s; after {ANSWER_S:.0f} s it counts as failed"
                return warn(check, self.subject, told, "see scim_request_seconds, and Redis")
            return ok(check, self.subject, f"{reply.status}, as {self._dialect.name} wants it")
        name, detail = self._dialect.name, reply.detail
        shown = f"; it shows {detail!r}" if reply.status >= 400 and detail else ""
        mend = _MENDS.get(reply.status, "read the receiver's log under this request")
        raise _Stopped(fail(check, self.subject, f"{name} stops: {problem}{shown}", mend))


_MENDS: Mapping[int, str] = {
    400: "mend what the detail names; a foreign domain is taken once verified_domains has it",
    401: "make a token of this tenant, `clickhouse-scim token create TENANT`, and paste it whole",
    403: "the token has not the scope scim: make another one",
    404: "the base URL is https://HOST/scim/TENANT/v2, with a tenant of the configuration",
    409: "somebody of this name is there already: run it again, it takes another name",
    413: "raise limits.max_body_bytes, and the proxy's limit",
    429: "the tenant is over its limit of requests: try again later",
    503: "Redis is away or not durable: `clickhouse-scim doctor` says what mends it",
}


def _status(reply: Reply, *wanted: int) -> str | None:
    if reply.status in wanted:
        return None
    return f"it got {reply.status} and needs {' or '.join(map(str, wanted))}"


def _empty(reply: Reply) -> str | None:
    if reply.resources is None:
        return "the answer is no ListResponse"
    return "the list is not empty" if reply.resources else None


def _listing(reply: Reply) -> str | None:
    if reply.resources is None:
        return "the answer is no ListResponse"
    total = reply.json.get("totalResults")
    return None if isinstance(total, int) else "the list has no totalResults"


def _whole(reply: Reply, name: str, value: object) -> str | None:
    if reply.id is None:
        return "the answer has no id"
    return None if reply.json.get(name) == value else f"{name} did not come back as it was sent"


def _error(reply: Reply) -> str | None:
    body = reply.json
    if isinstance(body, dict) and body.get("status") == str(reply.status):
        return None
    return "the error has not SCIM's form"


async def visit(
    base_url: str,
    token: str,
    provider: Provider,
    *,
    domain: str,
    read_only: bool,
    ca_file: Path | None = None,
) -> list[Finding]:
    """Return what the administrator of the provider would see, step by step.

    `domain`: of the probe's user name. Stops at the first step at which the provider would.
    """
    dialect = DIALECTS[provider]
    found = [_base_url(base_url, dialect)]
    if found[0].status is Status.FAIL:
        return found
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    timeout = aiohttp.ClientTimeout(total=ANSWER_S)
    async with aiohttp.ClientSession(
        timeout=timeout, connector=aiohttp.TCPConnector(ssl=context), trust_env=True
    ) as http:
        walk = Visit(http, base_url, token, dialect)
        async for finding in _steps(walk, provider, domain=domain, read_only=read_only):
            found += [finding]
    return found


async def _steps(
    walk: Visit, provider: Provider, *, domain: str, read_only: bool
) -> AsyncIterator[Finding]:
    dialect = DIALECTS[provider]
    try:
        async for finding in _TESTS[provider](walk, dialect):
            yield finding
        if not read_only:
            probe = f"clickhouse-scim-doctor-{uuid.uuid4().hex[:12]}"
            async for finding in _sync(walk, dialect, provider, f"{probe}@{domain}", probe):
                yield finding
    except _Stopped as stop:
        yield stop.finding


def _base_url(url: str, dialect: Dialect) -> Finding:
    try:
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname is not None
    except ValueError:
        known = False
    if not known:
        return fail("base URL", url, "this is no URL", "write it as https://HOST/scim/TENANT/v2")
    if parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        told = f"{dialect.name} sends the token in clear, or refuses the URL: it is not https"
        return fail("base URL", url, told, "put a proxy that ends TLS before the receiver")
    if dialect.name == "Okta" and "_" in url:
        told = "Okta refuses a base URL with `_` in it"
        return fail("base URL", url, told, "name the host and the tenant without `_`")
    return ok("base URL", url, f"{dialect.name} takes it")


async def _okta_test(walk: Visit, dialect: Dialect) -> AsyncIterator[Finding]:
    reply = await walk.ask(dialect.test, "GET", "/Users?startIndex=1&count=2")
    yield walk.judged(dialect.test, reply, _status(reply, 200), _listing(reply))
    check = "import of groups"
    reply = await walk.ask(check, "GET", "/Groups?startIndex=1&count=100")
    yield walk.judged(check, reply, _status(reply, 200), _listing(reply))
    yield await _refusal(walk)


async def _entra_test(walk: Visit, dialect: Dialect) -> AsyncIterator[Finding]:
    nobody = f"/Users?filter=userName+eq+%22{uuid.uuid4()}%22"
    reply = await walk.ask(dialect.test, "GET", nobody)
    yield walk.judged(dialect.test, reply, _status(reply, 200), _empty(reply))
    yield await _refusal(walk)


async def _refusal(walk: Visit) -> Finding:
    """Without a token nobody gets in, and the refusal has SCIM's form."""
    check = "refusal without a token"
    reply = await walk.ask(check, "GET", "/Users?startIndex=1&count=2", token=False)
    return walk.judged(check, reply, _status(reply, 401), _error(reply))


_TESTS: Mapping[Provider, Callable[[Visit, Dialect], AsyncIterator[Finding]]] = {
    "okta": _okta_test,
    "entra": _entra_test,
}


async def _sync(
    walk: Visit, dialect: Dialect, provider: Provider, user_name: str, group_name: str
) -> AsyncIterator[Finding]:
    """Make a user and a group, change and deactivate, and take both away whatever happens."""
    made: list[str] = []
    stop: _Stopped | None = None
    try:
        async for finding in _SYNCS[provider](walk, user_name, group_name, made):
            yield finding
    except _Stopped as error:
        stop = error
    for path in reversed(made):
        try:
            reply = await walk.ask("taken away again", "DELETE", path)
        except _Stopped as error:
            yield error.finding
            continue
        if reply.status not in {204, 404}:
            yield warn(
                "taken away again",
                walk.subject,
                f"{path} is still there ({reply.status})",
                "delete it by SCIM, or let the provider do it",
            )
    if stop is not None:
        raise stop
    yield ok("taken away again", walk.subject, f"nothing is left of {dialect.sync}")


async def _okta_sync(
    walk: Visit, user_name: str, group_name: str, made: list[str]
) -> AsyncIterator[Finding]:
    check = "look-up of a user"
    where = f"filter={_exactly('userName', user_name)}&startIndex=1&count=100"
    reply = await walk.ask(check, "GET", f"/Users?{where}")
    yield walk.judged(check, reply, _status(reply, 200), _empty(reply))
    user = {
        "schemas": [USER_URN],
        "userName": user_name,
        "name": {"givenName": "Doctor", "familyName": "Probe"},
        "emails": [{"primary": True, "value": user_name, "type": "work"}],
        "displayName": "Doctor Probe",
        "locale": "en-US",
        "externalId": uuid.uuid4().hex,
        "groups": [],
        "active": True,
    }
    check = "create a user"
    reply = await walk.ask(check, "POST", "/Users", user)
    created = reply.json
    if reply.id:
        made.append(f"/Users/{reply.id}")
    whole = _whole(reply, "userName", user_name)
    yield walk.judged(check, reply, _status(reply, 201), whole)
    one = made[0]
    check = "update a user"
    reply = await walk.ask(check, "PUT", one, created | {"displayName": "Doctor B. Probe"})
    whole = _whole(reply, "displayName", "Doctor B. Probe")
    yield walk.judged(check, reply, _status(reply, 200), whole)
    check = "push a group"
    reply = await walk.ask(
        check, "POST", "/Groups", {"schemas": [GROUP_URN], "displayName": group_name, "members": []}
    )
    if reply.id:
        made.append(f"/Groups/{reply.id}")
    yield walk.judged(check, reply, _status(reply, 201), _whole(reply, "displayName", group_name))
    check = "push its members"
    members = [{"value": one.rpartition("/")[2], "display": user_name}]
    body = {"schemas": [GROUP_URN], "id": reply.id, "displayName": group_name, "members": members}
    reply = await walk.ask(check, "PUT", made[1], body)
    yield walk.judged(check, reply, _status(reply, 200, 204))
    check = "deactivate a user"
    await walk.ask(check, "GET", one)
    reply = await walk.ask(check, "PUT", one, created | {"active": False})
    yield walk.judged(check, reply, _status(reply, 200), _whole(reply, "active", value=False))


async def _entra_sync(
    walk: Visit, user_name: str, group_name: str, made: list[str]
) -> AsyncIterator[Finding]:
    check = "look-up of a user"
    reply = await walk.ask(check, "GET", f"/Users?filter={_exactly('userName', user_name)}")
    yield walk.judged(check, reply, _status(reply, 200), _empty(reply))
    user = {
        "schemas": [USER_URN, ENTERPRISE_URN],
        "externalId": str(uuid.uuid4()),
        "userName": user_name,
        "active": True,
        "displayName": "Doctor Probe",
        "emails": [{"primary": True, "type": "work", "value": user_name}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": None, "familyName": "Probe", "givenName": "Doctor"},
        "roles": [],
    }
    check = "create a user"
    reply = await walk.ask(check, "POST", "/Users", user)
    if reply.id:
        made.append(f"/Users/{reply.id}")
    yield walk.judged(check, reply, _status(reply, 201), _whole(reply, "userName", user_name))
    one = made[0]
    check = "update a user"
    reply = await walk.ask(
        check, "PATCH", one, _patch(("Replace", "displayName", "Doctor B. Probe"))
    )
    whole = _whole(reply, "displayName", "Doctor B. Probe")
    yield walk.judged(check, reply, _status(reply, 200), whole)
    check = "look-up of a group"
    where = f"filter={_exactly('displayName', group_name)}&excludedAttributes=members"
    reply = await walk.ask(check, "GET", f"/Groups?{where}")
    yield walk.judged(check, reply, _status(reply, 200), _empty(reply))
    check = "create a group"
    group = {
        "schemas": [
            GROUP_URN,
            "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group",
        ],
        "externalId": str(uuid.uuid4()),
        "displayName": group_name,
        "meta": {"resourceType": "Group"},
    }
    reply = await walk.ask(check, "POST", "/Groups", group)
    if reply.id:
        made.append(f"/Groups/{reply.id}")
    whole = _whole(reply, "displayName", group_name)
    yield walk.judged(check, reply, _status(reply, 201), whole)
    check = "add a member"
    member = [{"$ref": None, "value": one.rpartition("/")[2]}]
    reply = await walk.ask(check, "PATCH", made[1], _patch(("Add", "members", member)))
    yield walk.judged(check, reply, _status(reply, 200, 204))
    check = "deactivate a user"
    reply = await walk.ask(check, "PATCH", one, _patch(("Replace", "active", "False")))
    yield walk.judged(check, reply, _status(reply, 200), _whole(reply, "active", value=False))


_SYNCS: Mapping[Provider, Callable[[Visit, str, str, list[str]], AsyncIterator[Finding]]] = {
    "okta": _okta_sync,
    "entra": _entra_sync,
}


def _exactly(attribute: str, value: str) -> str:
    return quote_plus(f'{attribute} eq "{value}"')


def _patch(*operations: tuple[str, str, object]) -> dict[str, Any]:
    return {
        "schemas": [PATCH_OP],
        "Operations": [{"op": op, "path": path, "value": value} for op, path, value in operations],
    }
