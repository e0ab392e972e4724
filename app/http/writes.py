"""Create, replace, change and delete one resource: RFC 7644 §3.3, §3.5 and §3.6.

Each write reads what it needs, decides in `app.scim`, and commits with one Lua call that refuses
if the document changed in between; then it is decided anew. Requests and the operations of a Bulk
request come here alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any

import msgspec

from app.directory.directory import NO_MEMBERS, Committed, Origin, OwnWrite, Stale
from app.directory.record import Stored
from app.directory.staging import too_busy
from app.http.aside import FEW, aside
from app.http.bodies import parse_json
from app.http.endpoint import Endpoint
from app.http.preconditions import NO_PRECONDITIONS, Preconditions
from app.http.rendering import Renderer
from app.http.unanswered import Key
from app.scim.members import MemberChange
from app.scim.patch import apply_patch, parse_patch
from app.scim.quirks import Quirk
from app.scim.validate import (
    Parsed,
    parse_group,
    parse_resource,
    read_members,
    refuse_immutable_changes,
)

_TRIES = 20  # concurrent writers of one document; each try is one round trip
_FEW_MEMBERS = 100
# PUT without `members` empties the group: Keycloak takes the last member out like that.
_EMPTY = MemberChange(replace=())


_SHORTEST_VALUE = 16  # bytes in a body: `{"value":"…"},`


def _values(body: object) -> int:
    """Return about how many values a body may hold; what was part of another has been counted."""
    return len(body) // _SHORTEST_VALUE if isinstance(body, bytes) else 0


def _held(body: object) -> object:
    return parse_json(body) if isinstance(body, bytes) else body


class Change(msgspec.Struct, frozen=True):
    """What a write makes of a resource. `secret` as in Directory."""

    document: dict[str, Any]
    members: MemberChange = NO_MEMBERS
    secret: str | None = None
    ignored: tuple[str, ...] = ()
    quirks: frozenset[Quirk] = frozenset()


Decide = Callable[[Stored], Change]


class Written(msgspec.Struct, frozen=True):
    """The answer to a write; `body` None for an answer without one.

    `created`: of a creation, what `Unanswered` is told when the answer has been sent.
    """

    status: HTTPStatus
    id: str
    headers: dict[str, str]
    body: dict[str, Any] | None = None
    created: Key | None = None


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One write. `attributes`, `excluded`: which of them the answer has (§3.9).

    A body is JSON text, or what was in it where something larger held it.
    """

    endpoint: Endpoint
    origin: Origin
    preconditions: Preconditions = NO_PRECONDITIONS
    attributes: str | None = None
    excluded: str | None = None

    def _renderer(self) -> Renderer:
        return self.endpoint.renderer(self.attributes, self.excluded)

    async def _parsed(self, body: object) -> tuple[Parsed, MemberChange | None]:
        """Return the whole resource that a POST or PUT describes."""
        values = _values(body)
        return self._read(body) if values <= FEW else await aside(values, lambda: self._read(body))

    def _read(self, body: object) -> tuple[Parsed, MemberChange | None]:
        endpoint = self.endpoint
        type_, limits = endpoint.resource_type, endpoint.limits
        if isinstance(body, bytes):
            fit = endpoint.tenant.fittings[endpoint.kind].read(body, limits)
            if fit is not None:
                parsed, beside = fit
                return parsed, read_members(type_, beside, limits) if beside else None
            body = parse_json(body)
        if endpoint.kind == "group":
            return parse_group(body, limits=limits, resource_type=type_)
        return parse_resource(type_, body, limits=limits), None

    async def create(self, body: object) -> Written:
        endpoint, origin, renderer = self.endpoint, self.origin, self._renderer()
        parsed, members = await self._parsed(body)
        endpoint.check_domain(None, parsed.document)
        secret = None if parsed.secret is None else await endpoint.secret(parsed.secret)
        change = Change(parsed.document, members or NO_MEMBERS, secret)
        committed, document = await self._created(change)
        unanswered, key = endpoint.receiver.unanswered, (endpoint.tenant.name, origin.digest)
        unanswered.expect(key)
        try:
            headers = await endpoint.headers(committed)
            answer = await renderer.created(committed, document)
        except BaseException:
            unanswered.lost([key])
            raise
        endpoint.count_ignored(parsed.ignored)
        endpoint.count_quirks(parsed.quirks)
        headers["Location"] = renderer.location(committed.id)
        return Written(HTTPStatus.CREATED, committed.id, headers, answer, key)

    async def replace(self, resource_id: str, body: object) -> Written:
        """PUT. A group's members are applied as a difference.

        A PUT that leaves out `active` leaves it as it is: RFC 7644 §3.5.1 would clear it, and a
        mapping that forgot the attribute would let everybody in again who has left.
        """
        endpoint, renderer = self.endpoint, self._renderer()
        parsed, members = await self._parsed(body)
        secret = await endpoint.secret(parsed.secret)
        change = (members or _EMPTY) if endpoint.kind == "group" else NO_MEMBERS

        def decide(before: Stored) -> Change:
            document = self._with_active_of(before.document, parsed.document)
            refuse_immutable_changes(endpoint.resource_type, before.document, document)
            return Change(document, change, secret, parsed.ignored, parsed.quirks)

        committed, document, headers = await self._changed(resource_id, decide)
        answer = await renderer.written(committed, document)
        return Written(HTTPStatus.OK, resource_id, headers, answer)

    async def patch(self, resource_id: str, body: object) -> Written:
        """PATCH: all operations or none.

        What comes back is the resource: Entra ID's validator wants the user, testers of others the
        group as well. A group of many members is a 204, since one change must not cost what all of
        them do. Entra ID wants no body for a group either; it gives each of its groups an
        `externalId`, and writes `op` in capitals unless told otherwise. Where the request names
        attributes it gets them (§3.5.2).
        """
        endpoint, renderer = self.endpoint, self._renderer()
        quirks: set[Quirk] = set()
        type_, limits = endpoint.resource_type, endpoint.limits
        operations = await aside(
            _values(body),
            lambda: parse_patch(type_, _held(body), limits=limits, quirks=quirks),
        )
        password = next((o.secret for o in reversed(operations) if o.secret is not None), None)
        secret = await endpoint.secret(password)

        def decide(before: Stored) -> Change:
            patched = apply_patch(type_, before.document, operations, limits=limits)
            members = patched.members or NO_MEMBERS
            seen = patched.quirks | quirks
            return Change(patched.document, members, secret, patched.ignored, seen)

        committed, document, headers = await self._changed(resource_id, decide)
        if not await self._shows(resource_id, document, quirks):
            return Written(HTTPStatus.NO_CONTENT, resource_id, headers)
        answer = await renderer.written(committed, document)
        return Written(HTTPStatus.OK, resource_id, headers, answer)

    async def _shows(
        self, resource_id: str, document: dict[str, Any], quirks: Collection[Quirk]
    ) -> bool:
        """Whether the answer to a PATCH holds the resource."""
        if (
            self.endpoint.kind != "group"
            or self.attributes is not None
            or self.excluded is not None
        ):
            return True
        if "externalId" in document or Quirk.OP_IN_CAPITALS in quirks:
            return False
        return await self.endpoint.directory.member_count(resource_id) <= _FEW_MEMBERS

    async def delete(self, resource_id: str) -> Written:
        endpoint = self.endpoint
        for _ in range(_TRIES):
            version = None
            if not self.preconditions.is_empty:
                version = (await endpoint.stored(resource_id)).version
                self.preconditions.check_write(version)
            try:
                committed = await endpoint.directory.delete(
                    endpoint.kind, resource_id, self.origin, version=version
                )
            except Stale:
                continue
            headers = await endpoint.headers(committed)
            del headers["ETag"]
            return Written(HTTPStatus.NO_CONTENT, resource_id, headers)
        raise too_busy()

    def _with_active_of(self, before: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
        if "active" in document or "active" not in before:
            return document
        kept = document | {"active": before["active"]}
        names = [attribute.name for attribute in self.endpoint.resource_type.core]
        return {name: kept.pop(name) for name in names if name in kept} | kept

    async def _created(self, change: Change) -> tuple[Committed, dict[str, Any]]:
        """Commit a new resource, or return what this request made and nobody was told of."""
        endpoint = self.endpoint
        try:
            committed = await endpoint.directory.create(
                endpoint.kind,
                change.document,
                self.origin,
                members=change.members.replace or (),
                role_keys=endpoint.role_keys(change.document),
                secret=change.secret,
                unanswered=True,
            )
        except OwnWrite as own:
            found = await self._own_write(own)
            if found is None:
                raise
            return found
        return committed, change.document

    async def _own_write(self, own: OwnWrite) -> tuple[Committed, dict[str, Any]] | None:
        """Return what the same request wrote, as it is now, if its client never had an answer."""
        endpoint = self.endpoint
        key = (endpoint.tenant.name, self.origin.digest)
        if not await endpoint.receiver.unanswered.is_repeat(key, own):
            return None
        stored = await endpoint.directory.get(endpoint.kind, own.id)
        if stored is None:
            return None
        committed = Committed(
            id=stored.id,
            seq=None,
            version=stored.version,
            created_ms=stored.created_ms,
            modified_ms=stored.modified_ms,
        )
        return committed, stored.document

    async def _changed(
        self, resource_id: str, decide: Decide
    ) -> tuple[Committed, dict[str, Any], dict[str, str]]:
        """Commit what `decide` makes of the resource; on a concurrent change decide again."""
        endpoint = self.endpoint
        for _ in range(_TRIES):
            before = await endpoint.stored(resource_id)
            self.preconditions.check_write(before.version)
            change = decide(before)
            endpoint.check_domain(before.document, change.document)
            try:
                committed = await endpoint.directory.update(
                    endpoint.kind,
                    before,
                    change.document,
                    self.origin,
                    members=change.members,
                    role_keys=endpoint.role_keys(change.document),
                    secret=change.secret,
                    exactly=not self.preconditions.is_empty,
                )
            except Stale:
                continue
            endpoint.count_ignored(change.ignored)
            endpoint.count_quirks(change.quirks)
            return committed, change.document, await endpoint.headers(committed)
        raise too_busy()
