"""A tenant's directory, read: resources by id, by name, in pages, and how groups hold them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from app.directory.keys import KINDS, Keys, Kind
from app.directory.link import Link
from app.directory.membership import CHUNK, Members, chunks, read_members
from app.directory.record import Stored, parse_stored
from app.scim.text import fold


@dataclass(frozen=True, slots=True)
class Pending:
    """A member of a group that is no resource (yet); `since_ms` by Redis's clock."""

    group_id: str
    member_id: str
    since_ms: int


async def pending_since_before(link: Link, tenants: Sequence[str], ms: int) -> list[str]:
    """Return those tenants that have a member who is no resource since before `ms`."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.zcount(Keys(tenant).pending, "-inf", _before(ms))
    counts = await link.call(pipe.execute()) if tenants else []
    return [tenant for tenant, count in zip(tenants, counts, strict=True) if count]


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
            pipe.zrange(self._keys.members(group), 0, CHUNK - 1)
        found: list[list[bytes]] = await self._link.call(pipe.execute())
        members = {}
        for group, ids in zip(group_ids, found, strict=True):
            if len(ids) < CHUNK:
                members[group] = [i.decode() for i in ids]
            else:
                members[group] = list((await self.members_of(group)).scores)
        return members

    async def members_of(self, group_id: str) -> Members:
        return await read_members(self._link, self._keys, group_id)

    async def are_members(self, group_id: str, ids: Sequence[str]) -> bool:
        """Whether all of these are direct members of the group."""
        for some in chunks(ids):
            scores = await self._link.call(
                self._link.redis.zmscore(self._keys.members(group_id), list(some))
            )
            if None in scores:
                return False
        return True

    async def member_count(self, group_id: str) -> int:
        count: int = await self._link.call(self._link.redis.zcard(self._keys.members(group_id)))
        return count

    async def pending(
        self, before_ms: int | None = None, *, start: int = 0, count: int = 1000
    ) -> list[Pending]:
        """Return members that no resource has the id of, the oldest first.

        `before_ms`: only those that have been waiting since before. There may be fewer than `count`
        although more follow: look `count` further, until `pending_count`.
        """
        found = await self._link.call(
            self._link.redis.zrangebyscore(
                *(self._keys.pending, "-inf", _before(before_ms)),
                start=start,
                num=count,
                withscores=True,
            )
        )
        rows = [(*entry.decode().split("\x00", 1), int(since)) for entry, since in found]
        pipe = self._link.redis.pipeline(transaction=False)
        for group, member, _ in rows:
            pipe.zscore(self._keys.members(group), member)
        scores = await self._link.call(pipe.execute()) if rows else []
        return [
            Pending(group, member, since)
            for (group, member, since), score in zip(rows, scores, strict=True)
            if score is not None
        ]

    async def pending_count(self, before_ms: int | None = None) -> int:
        """Return how many there are at most."""
        redis, key = self._link.redis, self._keys.pending
        count: int = await self._link.call(redis.zcount(key, "-inf", _before(before_ms)))
        return count

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
        for some in chunks(ids):
            left = list(some)
            for kind in KINDS:
                if not left:
                    break
                order = self._keys.order(kind)
                scores = await self._link.call(self._link.redis.zmscore(order, left))
                found = {i for i, score in zip(left, scores, strict=True) if score is not None}
                kinds |= dict.fromkeys(found, kind)
                left = [i for i in left if i not in found]
        return kinds

    async def groups_of(self, member_ids: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return each member's groups (direct ones)."""
        groups: dict[str, frozenset[str]] = {}
        for some in chunks(member_ids):
            found = await self._link.scripts.read("groups_of", self._keys.seq, *some)
            groups |= {
                member: frozenset(g.decode() for g in its_groups)
                for member, its_groups in zip(some, found, strict=True)
            }
        return groups

    async def last_seq(self) -> int:
        return int(await self._link.call(self._link.redis.get(self._keys.seq)) or 0)


def _before(ms: int | None) -> str:
    return "+inf" if ms is None else f"({ms}"
