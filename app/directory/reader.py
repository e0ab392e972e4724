"""A tenant's directory, read: resources by id, by name, in pages, and how groups hold them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.directory.keys import KINDS, Keys, Kind
from app.directory.link import Link
from app.directory.record import Stored, parse_stored
from app.scim.text import fold

_CHUNK = 2000  # members in one call where a whole group is read: under 1 ms of Redis


@dataclass(frozen=True, slots=True)
class Pending:
    """A member of a group that is no resource (yet); `since_ms` by Redis's clock."""

    group_id: str
    member_id: str
    since_ms: int


class Reader:
    """One tenant's resources. No read waits for a write, or sees half of one resource's."""

    def __init__(self, link: Link, tenant: str) -> None:
        self._link = link
        self._keys = Keys(tenant)

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

        `attribute`: the kind's name (`KINDS`), compared folded; externalId, exact.
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

    async def created(self, kind: Kind, ids: Sequence[str]) -> list[tuple[str, int]]:
        """Return those of `ids` that exist, in the order of their creation, each with its seq."""
        if not ids:
            return []
        scores = await self._link.call(self._link.redis.zmscore(self._keys.order(kind), list(ids)))
        rows = [(i, int(s)) for i, s in zip(ids, scores, strict=True) if s is not None]
        return sorted(rows, key=lambda row: row[1])

    async def cursor_key(self) -> bytes:
        """Return the key that cursors of this tenant are signed with, made when first asked for."""
        redis, key = self._link.redis, self._keys.cursors
        held: bytes | None = await self._link.call(redis.get(key))
        if held is None:
            await self._link.call(redis.set(key, secrets.token_bytes(32), nx=True))
            held = await self._link.call(redis.get(key))
        return held or b""

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

    async def member_count(self, group_id: str) -> int:
        count: int = await self._link.call(self._link.redis.zcard(self._keys.members(group_id)))
        return count

    async def all_members(self, group_id: str) -> list[str]:
        """Return a group's members, read in bounded steps.

        A change meanwhile may show in part: whoever decides by it compares the group's version.
        """
        found: list[str] = []
        while True:
            chunk = await self._link.call(
                self._link.redis.zrange(
                    self._keys.members(group_id), len(found), len(found) + _CHUNK - 1
                )
            )
            found += [i.decode() for i in chunk]
            if len(chunk) < _CHUNK:
                return found

    async def pending(self, before_ms: int | None = None, count: int = 1000) -> list[Pending]:
        """Return members that no resource has the id of, the oldest first.

        `before_ms`: only those that have been waiting since then.
        """
        until = "+inf" if before_ms is None else f"({before_ms}"
        found = await self._link.call(
            self._link.redis.zrangebyscore(
                self._keys.pending, "-inf", until, start=0, num=count, withscores=True
            )
        )
        rows = [(*entry.decode().split("\x00", 1), int(since)) for entry, since in found]
        return [Pending(group, member, since) for group, member, since in rows]

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
        """Return of which kind each of `ids` is; unknown ones are left out."""
        kinds: dict[str, Kind] = {}
        left = list(ids)
        for kind in KINDS:
            if not left:
                break
            scores = await self._link.call(self._link.redis.zmscore(self._keys.order(kind), left))
            found = {i for i, score in zip(left, scores, strict=True) if score is not None}
            kinds |= dict.fromkeys(found, kind)
            left = [i for i in left if i not in found]
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
