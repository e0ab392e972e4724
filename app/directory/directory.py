"""A tenant's directory: commits and reads.

A write is one Lua call, so a process that dies half-way leaves the whole change or none of it.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.directory.keys import KINDS, Kind
from app.directory.link import Link
from app.directory.reader import Reader
from app.directory.record import Stored, encode
from app.errors import InvalidValue, NotFound, TooMany, Uniqueness
from app.scim.members import MemberChange
from app.scim.text import fold

_strings = msgspec.json.Decoder(list[str]).decode
NO_MEMBERS = MemberChange(replace=None, add=(), remove=())
NO_SECRET = "-"  # noqa: S105 - as a secret: there is none from now on
_STEPWISE = (
    1000  # from so many members on a group is replaced by a difference that is computed here
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked: kept in the event, so that every statement can be explained (promise 9).

    `address`, `agent`: of the client, for the ledger.
    """

    request_id: str
    token_id: str
    digest: str
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """A change that is durable. `seq` None: it was already so and nothing was written.

    `wake`: the targets whose lane was clean before; the others have been woken already.
    """

    id: str
    seq: int | None
    version: int
    created_ms: int
    modified_ms: int
    wake: tuple[str, ...] = ()


class Stale(Exception):
    """The document changed since it was read: read again and decide anew."""


class Directory(Reader):
    """One tenant's resources. `targets`: the lanes that each change marks dirty. `ledger`: whether
    events say what the ledger keeps: who asked from where, the document before and after.

    `secret`, in every write: what a password was turned into, `NO_SECRET` to take it away, None to
    leave it alone. It is kept apart from the document and is in no event.
    """

    def __init__(
        self, link: Link, tenant: str, targets: Sequence[str], *, ledger: bool = False
    ) -> None:
        super().__init__(link, tenant)
        self._ledger = ledger
        self._targets = encode(list(targets))

    async def create(
        self,
        kind: Kind,
        document: dict[str, Any],
        origin: Origin,
        *,
        members: Sequence[str] = (),
        role_keys: Sequence[str] = (),
        secret: str | None = None,
        resource_id: str | None = None,
    ) -> Committed:
        """Commit a new resource, under an id of its own unless one is given.

        Raises Uniqueness, DirectoryUnavailable; InvalidValue if a group would hold itself.
        """
        change = MemberChange(replace=None, add=tuple(members), remove=())
        return await self._write(
            kind,
            resource_id or str(uuid.uuid4()),
            expect="new",
            name=document[KINDS[kind].name],
            document=document,
            members=change,
            role_keys=role_keys,
            origin=origin,
            secret=secret,
        )

    async def update(
        self,
        kind: Kind,
        before: Stored,
        document: dict[str, Any],
        origin: Origin,
        *,
        members: MemberChange = NO_MEMBERS,
        role_keys: Sequence[str] = (),
        secret: str | None = None,
        exactly: bool = False,
        stepwise: bool = True,
    ) -> Committed:
        """Commit what `before` becomes. Members change by difference, whoever else changes them.

        `exactly`: only if `before` is still the resource's version, members included. `stepwise`:
        where many members are replaced, they are compared here, since Redis answers nobody else
        meanwhile; then a change of the members in between is Stale too, and the caller's last tries
        do better without.

        Raises Stale if the document changed since `before` was read, NotFound, Uniqueness;
        InvalidValue if a group would come to lie below itself.
        """
        changed = None if document == before.document else document
        if stepwise and members.replace is not None and len(members.replace) >= _STEPWISE:
            members, exactly = await self._difference(before.id, members.replace), True
        if changed is None and members.is_empty and not role_keys and secret is None:
            return Committed(
                id=before.id,
                seq=None,
                version=before.version,
                created_ms=before.created_ms,
                modified_ms=before.modified_ms,
            )
        return await self._write(
            kind,
            before.id,
            expect=str(before.document_version),
            name=document[KINDS[kind].name],
            document=changed,
            members=members,
            role_keys=role_keys,
            origin=origin,
            secret=secret,
            version=str(before.version) if exactly else "",
        )

    async def _difference(self, group_id: str, wanted: Sequence[str]) -> MemberChange:
        held, kept = await self.all_members(group_id), frozenset(wanted)
        present = frozenset(held)
        return MemberChange(
            add=tuple(i for i in wanted if i not in present),
            remove=tuple(i for i in held if i not in kept),
        )

    def _asker(self, origin: Origin) -> bytes:
        """The salt goes into the ledger's digest of the event's personal data."""
        if not self._ledger:
            return b""
        asker = {"ip": origin.address, "agent": origin.agent, "salt": secrets.token_hex(16)}
        return encode(asker)

    async def _write(
        self,
        kind: Kind,
        resource_id: str,
        *,
        expect: str,
        name: str,
        document: dict[str, Any] | None,
        members: MemberChange,
        role_keys: Sequence[str],
        origin: Origin,
        secret: str | None,
        version: str = "",
    ) -> Committed:
        change = {
            "replace": False if members.replace is None else members.replace,
            "add": members.add,
            "remove": members.remove,
        }
        code, *rest = await self._link.scripts.run(
            "write",
            self._keys.seq,
            kind,
            resource_id,
            expect,
            b"" if document is None else encode(document),
            fold(name),
            "" if document is None else document.get("externalId", ""),
            encode(change),
            name,
            self._targets,
            encode(list(role_keys)),
            origin.request_id,
            origin.token_id,
            origin.digest,
            secret or "",
            KINDS[kind].name,
            version,
            self._asker(origin),
        )
        if code == b"taken":
            raise Uniqueness(f"{KINDS[kind].name} is already taken by another resource")
        if code == b"circle":
            raise InvalidValue(f"members: {rest[0].decode()} is this group, or holds it")
        if code == b"deep":
            raise TooMany("members: too many groups lie above this one")
        if code == b"stale":
            raise Stale
        if code == b"gone":
            raise NotFound(f"no such {kind}")
        number, created_ms, modified_ms = (int(value) for value in rest[:3])
        return Committed(
            id=resource_id,
            seq=number if code == b"ok" else None,
            version=number,
            created_ms=created_ms,
            modified_ms=modified_ms,
            wake=tuple(_strings(rest[3])) if code == b"ok" else (),
        )

    async def delete(
        self, kind: Kind, resource_id: str, origin: Origin, *, version: int | None = None
    ) -> Committed:
        """Remove the resource and every trace of it in other resources.

        `version`: only if it is this one, members included. Raises NotFound, Stale.
        """
        code, *rest = await self._link.scripts.run(
            "delete",
            self._keys.seq,
            kind,
            resource_id,
            self._targets,
            origin.request_id,
            origin.token_id,
            origin.digest,
            KINDS[kind].name,
            "" if version is None else str(version),
            self._asker(origin),
        )
        if code == b"gone":
            raise NotFound(f"no such {kind}")
        if code == b"stale":
            raise Stale
        seq, created_ms, modified_ms = (int(value) for value in rest[:3])
        return Committed(
            id=resource_id,
            seq=seq,
            version=seq,
            created_ms=created_ms,
            modified_ms=modified_ms,
            wake=tuple(_strings(rest[3])),
        )
