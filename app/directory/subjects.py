"""What a lane reads of the directory: users and agents as they are now, each seen at one moment.

A user's document and groups are read by one script: read apart, a commit in between could make
a mixture that never was, such as somebody active with the groups that she got while inactive. How
groups lie in groups is read after it: a change of that touches everybody below by its own event.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from app.directory.keys import Keys, Kind
from app.directory.link import Link
from app.directory.membership import chunks
from app.directory.reader import Reader
from app.directory.record import parse_stored
from app.scim.text import fold

_AT_ONCE = 500  # users in one call: about 2 ms of Redis

# Who gets a user on a target, in the order in which a resync goes through them.
SUBJECT_KINDS: tuple[Literal["user", "agent"], ...] = ("user", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A user or an agent as the directory and the lane have it.

    `document` None: it is deleted, or was never one of the two. `groups`: ids of the groups that it
    is in, also through other groups. `links`: the group id behind each key of the role map.
    `applied`: its ClickHouse name on the target as last acknowledged, None if it has none.
    `secret`: what its password was turned into, "" for none; `applied_digest`: the digest of the
    one on the target.
    """

    id: str
    kind: Literal["user", "agent"]
    document: Mapping[str, Any] | None
    groups: frozenset[str]
    links: Mapping[str, str]
    applied: str | None
    secret: str = field(default="", repr=False)
    applied_digest: str = ""


class Subjects:
    """Reads for one lane."""

    def __init__(self, link: Link, tenant: str, target: str) -> None:
        self._link = link
        self._keys = Keys(tenant)
        self._reader = Reader(link, tenant)
        self._target = target

    async def read(self, ids: Sequence[str]) -> list[Subject]:
        """Return a subject for each id, in their order."""
        subjects: list[Subject] = []
        above: dict[str, frozenset[str]] = {}
        for start in range(0, len(ids), _AT_ONCE):
            some, directly = await self._read_some(ids[start : start + _AT_ONCE])
            subjects += some
            above |= directly
        if not above:
            return subjects
        above |= await self._above(set[str]().union(*above.values()) - above.keys())
        return [replace(s, groups=_closed(s.groups, above)) for s in subjects]

    async def _read_some(
        self, ids: Sequence[str]
    ) -> tuple[list[Subject], dict[str, frozenset[str]]]:
        """Return these, and the groups that their groups are in, where these are in any."""
        found = await self._link.scripts.read("subjects", self._keys.seq, self._target, *ids)
        pairs, names, secrets, digests, users, agents, groups, above = found
        links = {
            key.decode(): group.decode() for key, group in zip(pairs[::2], pairs[1::2], strict=True)
        }
        subjects = [
            Subject(
                id=i,
                kind="agent" if agent else "user",
                document=parse_stored(i, user or agent).document if user or agent else None,
                groups=frozenset(g.decode() for g in its_groups),
                links=links,
                applied=None if name is None else name.decode(),
                secret=(secret or b"").decode(),
                applied_digest=(digest or b"").decode(),
            )
            for i, name, secret, digest, user, agent, its_groups in zip(
                ids, names, secrets, digests, users, agents, groups, strict=True
            )
        ]
        return subjects, {
            group.decode(): frozenset(g.decode() for g in its_groups) for group, its_groups in above
        }

    async def links(self) -> dict[str, str]:
        """Return the group id behind each key of the role map."""
        found = await self._link.call(self._link.redis.hgetall(self._keys.links))  # type: ignore[arg-type]
        return {key.decode(): group.decode() for key, group in found.items()}

    async def likes(self, groups: Collection[str] | None) -> dict[str, str]:
        """Return what those of these groups, or of all, that give something for their names were
        called when they were first known for it.
        """
        if groups is None:
            every = await self._link.call(self._link.redis.hgetall(self._keys.likes))  # type: ignore[arg-type]
            known = ((k.decode(), v.decode()) for k, v in every.items())
            return {k[3:]: v.partition("\0")[2] for k, v in known if k.startswith("id:")}
        ids = sorted(groups)
        fields = [f"id:{i}" for i in ids]
        if not ids:
            return {}
        found = await self._link.call(self._link.redis.hmget(self._keys.likes, fields))  # type: ignore[arg-type]
        named = zip(ids, found, strict=True)
        return {i: raw.decode().partition("\0")[2] for i, raw in named if raw is not None}

    async def _above(self, groups: Iterable[str]) -> dict[str, frozenset[str]]:
        """Return the groups that each of these is in, and so on upwards."""
        above: dict[str, frozenset[str]] = {}
        waiting = sorted(groups)
        while waiting:
            above |= await self._reader.groups_of(waiting)
            waiting = sorted(set().union(*(above[group] for group in waiting)) - above.keys())
        return above

    async def intents(self) -> dict[str, str]:
        """Return the names that an unfinished batch was about to make, with their user ids."""
        key = self._keys.lane("intents", self._target)
        found = await self._link.call(self._link.redis.hgetall(key))  # type: ignore[arg-type]
        return {name.decode(): i.decode() for name, i in found.items()}

    async def holders(self, names: Sequence[str]) -> dict[str, str]:
        """Return the id behind each of these ClickHouse names, as last acknowledged."""
        key = self._keys.lane("holders", self._target)
        held: dict[str, str] = {}
        for some in chunks(names):
            found = await self._link.call(self._link.redis.hmget(key, list(some)))  # type: ignore[arg-type]
            held |= {n: i.decode() for n, i in zip(some, found, strict=True) if i is not None}
        return held

    async def named(self, names: Sequence[str]) -> set[str]:
        """Return the ids of the users and agents that have one of these names now, in any case."""
        ids: set[str] = set()
        for some in chunks([fold(name) for name in names]):
            pipe = self._link.redis.pipeline(transaction=False)
            for kind in SUBJECT_KINDS:
                pipe.hmget(self._keys.names(kind), list(some))
            found = await self._link.call(pipe.execute())
            ids |= {i.decode() for of_kind in found for i in of_kind if i is not None}
        return ids

    async def below(self, ids: Sequence[str]) -> list[str]:
        """Return these ids and, where one is a group, its members, and so on downwards."""
        found = dict.fromkeys(ids)
        waiting = await self.groups_among(list(ids))
        while waiting:
            members = await self._reader.members(waiting)
            fresh = {i: None for ids in members.values() for i in ids if i not in found}
            found |= fresh
            waiting = await self.groups_among(list(fresh))
        return list(found)

    async def groups_among(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that are groups."""
        groups: list[str] = []
        for some in chunks(ids):
            scores = await self._link.call(
                self._link.redis.zmscore(self._keys.order("group"), list(some))
            )
            groups += [i for i, score in zip(some, scores, strict=True) if score is not None]
        return groups

    async def created_after(self, kind: Kind, seq: int, count: int) -> list[tuple[str, int]]:
        """Return resources of this kind in the order of their creation, with its seq."""
        found = await self._link.call(
            self._link.redis.zrangebyscore(
                self._keys.order(kind), f"({seq}", "+inf", start=0, num=count, withscores=True
            )
        )
        return [(i.decode(), int(score)) for i, score in found]

    async def gone(self, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that no user and no agent of the directory has."""
        if not ids:
            return []
        pipe = self._link.redis.pipeline(transaction=False)
        for kind in SUBJECT_KINDS:
            pipe.zmscore(self._keys.order(kind), list(ids))
        scores = await self._link.call(pipe.execute())
        return [
            i
            for i, *of_kinds in zip(ids, *scores, strict=True)
            if not any(score is not None for score in of_kinds)
        ]


def _closed(groups: frozenset[str], above: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return `groups` and everything above them; groups in a circle are no trouble. `above`: by
    each group that is in some.
    """
    closed, waiting = set(groups), list(groups)
    while waiting:
        fresh = above.get(waiting.pop(), frozenset()) - closed
        closed |= fresh
        waiting += fresh
    return frozenset(closed)
