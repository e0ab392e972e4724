"""Filling an empty directory with what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from app.directory.keys import KINDS, LEDGER, Keys, Kind
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.errors import DirectoryError
from app.scim.text import fold

_AT_ONCE = 1000


class NotEmpty(DirectoryError):
    """There is a directory already, and it is not one whose rebuilding was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A resource as it was, without its members. `ordered`: the seq of its creation."""

    kind: Kind
    id: str
    document: str
    name: str
    external_id: str
    version: int
    document_version: int
    created_ms: int
    modified_ms: int
    ordered: int


class Restoring:
    """The rebuilding of one tenant's directory. What is done twice is there once."""

    def __init__(self, link: Link, tenant: str) -> None:
        self._link, self._tenant = link, tenant
        self._keys = Keys(tenant)

    async def begin(self, seq: int) -> None:
        """Take the empty directory; `seq`: of the last event that it will have had.

        Raises NotEmpty.
        """
        if not await self._link.scripts.run("restore_begin", self._keys.seq, seq):
            raise NotEmpty(f"the directory of {self._tenant} is not empty")

    async def resources(self, some: Sequence[Past]) -> None:
        """Put a bounded number of resources back, in one step."""
        fields: list[str | int] = []
        for one in some:
            fields += (
                one.kind,
                KINDS[one.kind].name,
                one.id,
                one.document,
                fold(one.name),
                one.external_id,
                one.version,
                one.document_version,
                one.created_ms,
                one.modified_ms,
                one.ordered,
            )
        await self._link.scripts.run("restore", self._keys.seq, *fields)

    async def members(
        self, group: str, members: Mapping[str, int], waiting: Mapping[str, int]
    ) -> None:
        """Put the members of a group back, each with the seq since when. `waiting`: those that are
        no resources, with the time since when.
        """
        for part in _parts(list(members)):
            pipe = self._link.redis.pipeline(transaction=False)
            pipe.zadd(self._keys.members(group), {i: members[i] for i in part})
            for member in part:
                pipe.sadd(self._keys.member_of(member), group)
            unknown = {f"{group}\0{i}": waiting[i] for i in part if i in waiting}
            if unknown:
                pipe.zadd(self._keys.pending, unknown)
            await self._link.call(pipe.execute())

    async def adoptions(
        self, target: str, records: Mapping[str, str], consents: Mapping[str, str]
    ) -> None:
        """Put back what users of a target were before they were adopted, and what was said of them,
        both by name.
        """
        pipe = self._link.redis.pipeline(transaction=True)
        if records:
            pipe.hset(self._keys.lane("adopted", target), mapping=dict(records))
        if consents:
            pipe.hset(self._keys.lane("consents", target), mapping=dict(consents))
        await self._link.call(pipe.execute())

    async def end(
        self,
        links: Mapping[str, str],
        likes: Mapping[str, str],
        targets: Sequence[str],
        *,
        seq: int,
        head: str,
        now_ms: int,
    ) -> None:
        """Let go of the directory: lanes go through it as a whole, the ledger goes on behind it."""
        pipe = self._link.redis.pipeline(transaction=True)
        if links:
            pipe.hset(self._keys.links, mapping=dict(links))
        for group, name in likes.items():
            known = {f"name:{fold(name)}": group, f"id:{group}": f"{fold(name)}\0{name}"}
            pipe.hset(self._keys.likes, mapping=known)
        written = {"cursor": str(seq), "head": head, "stated": f"done:{now_ms}"}
        pipe.hset(self._keys.lane("lane", LEDGER), mapping=written)
        for target in targets:
            pipe.hset(self._keys.lane("lane", target), "cursor", str(seq))
        pipe.delete(self._keys.rebuilding)
        await self._link.call(pipe.execute())
        for target in targets:
            await LaneStore(self._link, self._tenant, target).ask(resync=True)


def _parts(ids: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(ids)
    while part := list(islice(rest, _AT_ONCE)):
        yield part
