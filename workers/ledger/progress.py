"""How far the ledger's lane of a tenant is, in Redis."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from app.directory.events import Entry, read_entries
from app.directory.keys import KINDS, LEDGER, Keys, Kind
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.directory.record import encode
from workers.ledger.chain import START

_DONE = "done:"
_FIELDS = ("cursor", "head", "block", "facts", "facts_block", "stated", "dropped", "missed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`cursor`, `head`: seq and hash of the last event that the ledger has. `block`: where the
    block ends that was perhaps sent already, 0 for none; `facts_block` the same, "" for none.

    `stated`: where the telling of what was there before stands: "" not begun, `done:MS` when it
    ended, else `KIND:SEQ`. `dropped`: facts that were not kept, ever; `missed`: how many of them
    the ledger knows of.
    """

    cursor: int = 0
    head: str = START
    block: int = 0
    facts_block: str = ""
    stated: str = ""
    dropped: int = 0
    missed: int = 0

    @property
    def stated_ms(self) -> int:
        """When the ledger last was told everything, 0 if that is still to be done."""
        return int(self.stated.removeprefix(_DONE)) if self.stated.startswith(_DONE) else 0


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a tenant's ledger: events, facts, and whether it has been told all."""

    events: int
    facts: int
    is_stated: bool

    @property
    def is_empty(self) -> bool:
        return self.is_stated and not (self.events or self.facts)


class LedgerLane:
    """The lane of one tenant to the ledger. What changes it needs the epoch of its holder."""

    def __init__(self, link: Link, tenant: str, targets: Sequence[str]) -> None:
        self._link, self.tenant = link, tenant
        self._keys = Keys(tenant)
        self._targets = encode(list(targets))
        self.store = LaneStore(link, tenant, LEDGER)

    async def progress(self) -> Progress:
        lane = self._keys.lane("lane", LEDGER)
        found = await self._link.call(self._link.redis.hmget(lane, list(_FIELDS)))  # type: ignore[arg-type]
        held = {n: v.decode() for n, v in zip(_FIELDS, found, strict=True) if v is not None}
        return Progress(
            cursor=int(held.get("cursor", 0)),
            head=held.get("head", START),
            block=int(held.get("block", 0)),
            facts_block=held.get("facts_block", ""),
            stated=held.get("stated", ""),
            dropped=int(held.get("dropped", 0)),
            missed=int(held.get("missed", 0)),
        )

    async def note(
        self, epoch: int, fields: Mapping[str, str | int | None], *, facts: str = ""
    ) -> bool:
        """Set fields of the lane, None to remove one; drop the facts up to the id `facts`.

        False: the lease is gone, and nothing may be sent.
        """
        texts = {name: False if v is None else str(v) for name, v in fields.items()}
        done: int = await self._link.scripts.run(
            "lane_wrote", self._keys.seq, LEDGER, epoch, encode(texts), facts
        )
        return bool(done)

    async def events(self, after: int, until: int | None, count: int) -> Sequence[Entry]:
        """Return raw entries of the event log, those up to `until` where that is given."""
        return await read_entries(self._link, self._keys, after, count, until=until)

    async def facts(self, until: str, count: int) -> Sequence[tuple[str, bytes]]:
        """Return the oldest facts with their ids, those up to `until` where that is given."""
        found = await self._link.call(
            self._link.redis.xrange(self._keys.facts, max=until or "+", count=count)
        )
        return [(i.decode(), fields[b"fact"]) for i, fields in found]

    async def state(self, kind: Kind, resource_id: str) -> None:
        """Have the ledger told what a resource is, by an event that changes nothing."""
        asker = {"ip": "", "agent": "", "salt": secrets.token_hex(16)}
        await self._link.scripts.run(
            "stated",
            self._keys.seq,
            kind,
            resource_id,
            self._targets,
            KINDS[kind].name,
            msgspec.json.encode(asker),
        )


def stated_at(ms: int) -> str:
    return f"{_DONE}{ms}"


async def backlogs(link: Link, tenants: Sequence[str]) -> dict[str, Backlog]:
    """Return what waits for each tenant's ledger."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        keys = Keys(tenant)
        pipe.get(keys.seq)
        pipe.hmget(keys.lane("lane", LEDGER), ["cursor", "stated"])
        pipe.xlen(keys.facts)
    found = await link.call(pipe.execute()) if tenants else []
    return {
        tenant: Backlog(
            events=int(seq or 0) - int(cursor or 0),
            facts=facts,
            is_stated=(stated or b"").startswith(_DONE.encode()),
        )
        for tenant, seq, (cursor, stated), facts in zip(
            tenants, found[::3], found[1::3], found[2::3], strict=True
        )
    }
