"""A tenant's directory: commits and reads.

A write is one Lua call, so a process that dies half-way leaves the whole change or none of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from app.directory.keys import Keys, Kind
from app.directory.link import Link
from app.directory.record import Stored, encode, parse_stored
from app.errors import NotFound, Uniqueness
from app.scim.members import MemberChange
from app.scim.text import fold

_strings = msgspec.json.Decoder(list[str]).decode
_NAME_OF: dict[Kind, str] = {"user": "userName", "group": "displayName"}
NO_MEMBERS = MemberChange(replace=None, add=(), remove=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who asked: kept in the event, so that every statement can be explained (promise 9)."""

    request_id: str
    token_id: str
    digest: str


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


class Directory:
    """One tenant's resources. `targets`: the lanes that each change marks dirty."""

    def __init__(self, link: Link, tenant: str, targets: Sequence[str]) -> None:
        self._link = link
        self._keys = Keys(tenant)
        self._targets = encode(list(targets))

    async def create(
        self,
        kind: Kind,
        document: dict[str, Any],
        origin: Origin,
        *,
        members: Sequence[str] = (),
        role_keys: Sequence[str] = (),
    ) -> Committed:
        """Commit a new resource. Raises Uniqueness, DirectoryUnavailable."""
        change = MemberChange(replace=None, add=tuple(members), remove=())
        return await self._write(
            kind,
            str(uuid.uuid4()),
            expect="new",
            name=document[_NAME_OF[kind]],
            document=document,
            members=change,
            role_keys=role_keys,
            origin=origin,
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
    ) -> Committed:
        """Commit what `before` becomes. Members change by difference, whoever else changes them.

        Raises Stale if the document changed since `before` was read, NotFound, Uniqueness.
        """
        changed = None if document == before.document else document
        if changed is None and members.is_empty and not role_keys:
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
            name=document[_NAME_OF[kind]],
            document=changed,
            members=members,
            role_keys=role_keys,
            origin=origin,
        )

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
        )
        if code == b"taken":
            raise Uniqueness(f"{_NAME_OF[kind]} is already taken by another resource")
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

    async def delete(self, kind: Kind, resource_id: str, origin: Origin) -> Committed:
        """Remove the resource and every trace of it in other resources. Raises NotFound."""
        code, *rest = await self._link.scripts.run(
            "delete",
            self._keys.seq,
            kind,
            resource_id,
            self._targets,
            origin.request_id,
            origin.token_id,
            origin.digest,
        )
        if code == b"gone":
            raise NotFound(f"no such {kind}")
        seq, created_ms, modified_ms = (int(value) for value in rest[:3])
        return Committed(
            id=resource_id,
            seq=seq,
            version=seq,
            created_ms=created_ms,
            modified_ms=modified_ms,
            wake=tuple(_strings(rest[3])),
        )

    async def get(self, kind: Kind, resource_id: str) -> Stored | None:
        return (await self.get_many(kind, [resource_id])).get(resource_id)

    async def get_many(self, kind: Kind, ids: Sequence[str]) -> dict[str, Stored]:
        """Return those of `ids` that exist, in the order asked."""
        if not ids:
            return {}
        redis = self._link.redis
        raws = await self._link.call(redis.mget([self._keys.resource(kind, i) for i in ids]))
        return {i: parse_stored(i, raw) for i, raw in zip(ids, raws, strict=True) if raw}

    async def find(self, kind: Kind, attribute: str, value: str) -> list[str]:
        """Return the ids whose indexed attribute equals `value`.

        `attribute`: userName (users) or displayName (groups), compared folded; externalId, exact.
        """
        redis = self._link.redis
        if attribute == "externalId":
            entries: list[bytes] = await self._link.call(
                redis.zrangebylex(self._keys.external_ids(kind), f"[{value}\x00", f"({value}\x01")
            )
            return [entry.rpartition(b"\x00")[2].decode() for entry in entries]
        found: bytes | None = await self._link.call(
            redis.hget(self._keys.names(kind), fold(value))  # type: ignore[arg-type]
        )
        return [found.decode()] if found else []

    async def creation_digest(self, kind: Kind, resource_id: str) -> str | None:
        """Return the digest of the request that made the resource, None if it is not known."""
        redis = self._link.redis
        seq = await self._link.call(redis.zscore(self._keys.order(kind), resource_id))
        if seq is None:
            return None
        entry = f"{int(seq)}-0"
        found = await self._link.call(redis.xrange(self._keys.events, entry, entry))
        return found[0][1][b"digest"].decode() if found else None

    async def count(self, kind: Kind) -> int:
        total: int = await self._link.call(self._link.redis.zcard(self._keys.order(kind)))
        return total

    async def page(self, kind: Kind, start: int, count: int) -> list[str]:
        """Return `count` ids from the 0-based position `start`, oldest first; O(log n + count)."""
        if count <= 0:
            return []
        ids = await self._link.call(
            self._link.redis.zrange(self._keys.order(kind), start, start + count - 1)
        )
        return [i.decode() for i in ids]

    async def created_after(self, kind: Kind, seq: int, count: int) -> list[tuple[str, int]]:
        """Return ids in the order of their creation, each with its seq.

        Reading on from the last seq misses nobody, whoever is deleted meanwhile.
        """
        found = await self._link.call(
            self._link.redis.zrangebyscore(
                self._keys.order(kind), f"({seq}", "+inf", start=0, num=count, withscores=True
            )
        )
        return [(i.decode(), int(score)) for i, score in found]

    async def members(self, group_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return each group's members, longest-standing first."""
        if not group_ids:
            return {}
        pipe = self._link.redis.pipeline(transaction=False)
        for group in group_ids:
            pipe.zrange(self._keys.members(group), 0, -1)
        found: list[list[bytes]] = await self._link.call(pipe.execute())
        return {
            group: [i.decode() for i in ids] for group, ids in zip(group_ids, found, strict=True)
        }

    async def members_among(
        self, group_ids: Sequence[str], member_ids: Sequence[str]
    ) -> dict[str, list[str]]:
        """Return which of `member_ids` are in each group, without reading its other members."""
        if not group_ids or not member_ids:
            return {group: [] for group in group_ids}
        pipe = self._link.redis.pipeline(transaction=False)
        for group in group_ids:
            pipe.zmscore(self._keys.members(group), list(member_ids))
        found: list[list[float | None]] = await self._link.call(pipe.execute())
        return {
            group: [m for m, score in zip(member_ids, scores, strict=True) if score is not None]
            for group, scores in zip(group_ids, found, strict=True)
        }

    async def kinds(self, ids: Sequence[str]) -> dict[str, Kind]:
        """Return which of `ids` are users and which are groups; unknown ones are left out."""
        if not ids:
            return {}
        pipe = self._link.redis.pipeline(transaction=False)
        pipe.zmscore(self._keys.order("user"), list(ids))
        pipe.zmscore(self._keys.order("group"), list(ids))
        users, groups = await self._link.call(pipe.execute())
        kinds: dict[str, Kind] = {}
        for member, user, group in zip(ids, users, groups, strict=True):
            if user is not None:
                kinds[member] = "user"
            elif group is not None:
                kinds[member] = "group"
        return kinds

    async def groups_of(self, member_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return each member's groups (direct ones)."""
        if not member_ids:
            return {}
        pipe = self._link.redis.pipeline(transaction=False)
        for member in member_ids:
            pipe.smembers(self._keys.member_of(member))
        found: list[Iterable[bytes]] = await self._link.call(pipe.execute())
        return {
            member: frozenset(g.decode() for g in groups)
            for member, groups in zip(member_ids, found, strict=True)
        }

    async def last_seq(self) -> int:
        return int(await self._link.call(self._link.redis.get(self._keys.seq)) or 0)
