"""Users and Groups over HTTP: RFC 7644 §3.2 to §3.6.

Each write reads what it needs, decides in `app.scim`, and commits with one Lua call that refuses
if the document changed in between; then it is decided anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from app.directory.directory import NO_MEMBERS, Committed, Origin, Stale
from app.directory.keys import Kind
from app.directory.record import Stored
from app.errors import DirectoryUnavailable, InvalidValue, NotFound, Unavailable, Uniqueness
from app.http.answers import answer
from app.http.bodies import digest, parse_json, read_body
from app.http.members import member_anchor
from app.http.receiver import CALLER, RECEIVER, Caller, Receiver
from app.http.rendering import Renderer
from app.scim.filter import Filter, anchor, matches, parse_filter
from app.scim.limits import Limits
from app.scim.members import MemberChange
from app.scim.messages import list_response
from app.scim.page import parse_page
from app.scim.patch import apply_patch, parse_patch
from app.scim.present import entity_tag
from app.scim.schema import GROUP, USER, ResourceType
from app.scim.text import fold
from app.scim.validate import Parsed, parse_group, parse_resource

_TRIES = 20  # concurrent writers of one document; each try is one round trip
_SCAN = 500

_KINDS: dict[str, tuple[Kind, ResourceType]] = {"Users": ("user", USER), "Groups": ("group", GROUP)}
# PUT without `members` empties the group: Keycloak takes the last member out like that.
_EMPTY = MemberChange(replace=())

Decide = Callable[[Stored], Awaitable[tuple[dict[str, Any], MemberChange]]]


class Endpoint:
    """One request at /Users or /Groups. `body` is empty until `read` has been called."""

    def __init__(self, request: web.Request) -> None:
        self.request = request
        self.receiver: Receiver = request.app[RECEIVER]
        self.caller: Caller = request[CALLER]
        self.kind, self.resource_type = _KINDS[request.match_info["endpoint"]]
        self.directory = self.caller.tenant.directory
        self.settings = self.caller.settings.limits
        self.limits = Limits(
            max_name_length=self.settings.max_name_length,
            max_patch_operations=self.settings.max_patch_operations,
        )
        self.renderer = Renderer(
            self.directory, self.kind, self.resource_type, self.caller.base_url, request.query
        )
        self.body = b""

    @property
    def resource_id(self) -> str:
        return self.request.match_info["id"]

    async def read(self) -> Any:
        """Return what the body holds as JSON."""
        self.body = await read_body(self.request, self.settings.max_body_bytes)
        return parse_json(self.body)

    def origin(self) -> Origin:
        return Origin(
            request_id=self.caller.request_id,
            token_id=self.caller.token.id,
            digest=digest(self.request, self.body),
        )

    async def stored(self) -> Stored:
        found = await self.directory.get(self.kind, self.resource_id)
        if found is None:
            raise NotFound(f"no {self.kind} has this id")
        return found

    async def parsed(self) -> tuple[Parsed, MemberChange | None]:
        """Return the whole resource that a POST or PUT describes."""
        body = await self.read()
        if self.kind == "group":
            return parse_group(body, limits=self.limits)
        return parse_resource(self.resource_type, body, limits=self.limits), None

    def check_domain(self, before: dict[str, Any] | None, after: dict[str, Any]) -> None:
        """Refuse a user of a foreign domain, if the tenant has named its own.

        Nobody is refused who has no access, and no change that leaves an active user's name: access
        must not outlive a list of domains that has become shorter.
        """
        domains = self.caller.tenant.verified_domains
        if self.kind != "user" or not domains or after.get("active") is False:
            return
        name = after["userName"]
        if before and before.get("active") is not False and before["userName"] == name:
            return
        if fold(name.rpartition("@")[2]) not in domains:
            raise InvalidValue("userName: its domain is not one of this tenant's")

    def count_ignored(self, ignored: tuple[str, ...]) -> None:
        if ignored:
            counter = self.receiver.metrics.ignored_attributes
            counter.labels(self.caller.tenant.name, self.resource_type.name).inc(len(ignored))

    def role_keys(self, document: dict[str, Any]) -> tuple[str, ...]:
        """Return the keys of the role map that a group of this name and externalId has."""
        if self.kind == "user":
            return ()
        role_map = self.caller.tenant.role_map
        return role_map.keys_for(document["displayName"], document.get("externalId"))

    async def headers(self, committed: Committed) -> dict[str, str]:
        """Wake the lanes and return the headers of a write's answer."""
        if committed.seq is not None:
            self.receiver.metrics.events.labels(self.caller.tenant.name).inc()
            self.receiver.waker.wake(self.caller.tenant.name, committed.wake)
        seq = committed.seq if committed.seq is not None else await self.directory.last_seq()
        return {"ETag": entity_tag(committed.version), "X-Event-Seq": str(seq)}

    async def changed(self, decide: Decide) -> tuple[Committed, dict[str, Any], dict[str, str]]:
        """Commit what `decide` makes of the resource; on a concurrent change decide again."""
        origin = self.origin()
        for _ in range(_TRIES):
            before = await self.stored()
            document, members = await decide(before)
            self.check_domain(before.document, document)
            try:
                committed = await self.directory.update(
                    self.kind,
                    before,
                    document,
                    origin,
                    members=members,
                    role_keys=self.role_keys(document),
                )
            except Stale:
                continue
            return committed, document, await self.headers(committed)
        raise Unavailable("too many changes of this resource at the same time", retry_after_s=1)


async def create(request: web.Request) -> web.Response:
    """POST: RFC 7644 §3.3."""
    endpoint = Endpoint(request)
    parsed, members = await endpoint.parsed()
    endpoint.check_domain(None, parsed.document)
    origin = endpoint.origin()
    try:
        committed, document = await _created(endpoint, parsed.document, members, origin)
        headers = await endpoint.headers(committed)
        body = await endpoint.renderer.created(committed, document)
    except DirectoryUnavailable:
        endpoint.receiver.repeats.note(origin.digest)
        raise
    endpoint.receiver.repeats.forget(origin.digest)
    endpoint.count_ignored(parsed.ignored)
    headers["Location"] = endpoint.renderer.location(committed.id)
    return answer(body, status=HTTPStatus.CREATED, headers=headers)


async def _created(
    endpoint: Endpoint, document: dict[str, Any], members: MemberChange | None, origin: Origin
) -> tuple[Committed, dict[str, Any]]:
    """Commit a new resource, or return the one that this request made before its reply was lost."""
    try:
        committed = await endpoint.directory.create(
            endpoint.kind,
            document,
            origin,
            members=(members.replace or ()) if members else (),
            role_keys=endpoint.role_keys(document),
        )
    except Uniqueness:
        found = await _own_write(endpoint, document, origin)
        if found is None:
            raise
        return found
    return committed, document


async def _own_write(
    endpoint: Endpoint, document: dict[str, Any], origin: Origin
) -> tuple[Committed, dict[str, Any]] | None:
    """Return what the same request wrote when its outcome stayed unknown, as it is now."""
    if not endpoint.receiver.repeats.knows(origin.digest):
        return None
    directory, kind = endpoint.directory, endpoint.kind
    name = "userName" if kind == "user" else "displayName"
    found = await directory.get_many(kind, await directory.find(kind, name, document[name]))
    for stored in found.values():
        if await directory.creation_digest(kind, stored.id) == origin.digest:
            committed = Committed(
                id=stored.id,
                seq=None,
                version=stored.version,
                created_ms=stored.created_ms,
                modified_ms=stored.modified_ms,
            )
            return committed, stored.document
    return None


async def replace(request: web.Request) -> web.Response:
    """PUT: RFC 7644 §3.5.1. A group's members are applied as a difference."""
    endpoint = Endpoint(request)
    parsed, members = await endpoint.parsed()
    change = (members or _EMPTY) if endpoint.kind == "group" else NO_MEMBERS

    async def decide(_: Stored) -> tuple[dict[str, Any], MemberChange]:
        return parsed.document, change

    committed, document, headers = await endpoint.changed(decide)
    endpoint.count_ignored(parsed.ignored)
    return answer(await endpoint.renderer.written(committed, document), headers=headers)


async def patch(request: web.Request) -> web.Response:
    """PATCH: RFC 7644 §3.5.2, all operations or none.

    A user comes back whole (Entra ID's validator wants it), a group as 204: its members may be
    many, and no identity provider reads them.
    """
    endpoint = Endpoint(request)
    operations = parse_patch(endpoint.resource_type, await endpoint.read(), limits=endpoint.limits)
    ignored: tuple[str, ...] = ()

    async def decide(before: Stored) -> tuple[dict[str, Any], MemberChange]:
        nonlocal ignored
        patched = apply_patch(
            endpoint.resource_type, before.document, operations, limits=endpoint.limits
        )
        ignored = patched.ignored
        return patched.document, patched.members or NO_MEMBERS

    committed, document, headers = await endpoint.changed(decide)
    endpoint.count_ignored(ignored)
    if endpoint.kind == "group":
        return answer(None, status=HTTPStatus.NO_CONTENT, headers=headers)
    return answer(await endpoint.renderer.written(committed, document), headers=headers)


async def delete(request: web.Request) -> web.Response:
    """DELETE: RFC 7644 §3.6."""
    endpoint = Endpoint(request)
    committed = await endpoint.directory.delete(
        endpoint.kind, endpoint.resource_id, endpoint.origin()
    )
    headers = await endpoint.headers(committed)
    del headers["ETag"]
    return answer(None, status=HTTPStatus.NO_CONTENT, headers=headers)


async def get(request: web.Request) -> web.Response:
    """GET of one resource: RFC 7644 §3.4.1."""
    endpoint = Endpoint(request)
    stored = await endpoint.stored()
    (body,) = await endpoint.renderer.stored([stored])
    return answer(body, headers={"ETag": entity_tag(stored.version)})


async def find(request: web.Request) -> web.Response:
    """GET of a list, filtered and paged: RFC 7644 §3.4.2."""
    endpoint = Endpoint(request)
    query, limits = request.query, endpoint.settings
    page = parse_page(
        query.get("startIndex"),
        query.get("count", str(limits.default_page)),
        max_page=limits.max_page,
    )
    start = page.start_index - 1
    text = query.get("filter")
    if text is None:
        total = await endpoint.directory.count(endpoint.kind)
        ids = await endpoint.directory.page(endpoint.kind, start, page.count)
        found = list((await endpoint.directory.get_many(endpoint.kind, ids)).values())
    else:
        filter_ = parse_filter(endpoint.resource_type, text, limits=endpoint.limits)
        matching = await _matching(endpoint, filter_)
        total = len(matching)
        found = matching[start : start + page.count]
    resources = await endpoint.renderer.stored(found)
    return answer(list_response(resources, total, page.start_index, len(resources)))


async def _matching(endpoint: Endpoint, filter_: Filter) -> list[Stored]:
    """Return every match: through an index where the filter has a look-up, else by a scan."""
    directory, kind = endpoint.directory, endpoint.kind
    candidates = await _candidates(endpoint, filter_)
    if candidates is not None:
        return await _those_that_match(endpoint, candidates, filter_)
    found: list[Stored] = []
    seq = 0
    while rows := await directory.created_after(kind, seq, _SCAN):
        seq = rows[-1][1]
        found += await _those_that_match(endpoint, [i for i, _ in rows], filter_)
    return found


async def _candidates(endpoint: Endpoint, filter_: Filter) -> list[str] | None:
    """Return the ids among which every match is, None if an index does not tell."""
    directory, kind = endpoint.directory, endpoint.kind
    look_up = anchor(filter_)
    if look_up is not None:
        return [look_up[1]] if look_up[0] == "id" else await directory.find(kind, *look_up)
    if kind == "group" and (member := member_anchor(filter_)) is not None:
        return sorted((await directory.groups_of([member]))[member])
    return None


async def _those_that_match(endpoint: Endpoint, ids: list[str], filter_: Filter) -> list[Stored]:
    stored = list((await endpoint.directory.get_many(endpoint.kind, ids)).values())
    documents = await endpoint.renderer.documents(stored, filter_)
    return [s for s, d in zip(stored, documents, strict=True) if matches(filter_, d)]
