"""The event log: what changed, in `seq` order, gapless per tenant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.record import encode

_TRIMMED = 200  # events in one call: a script keeps everybody else waiting

_strings = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One committed change.

    `added`, `removed`: members that a group gained or lost. `all_members`: the role map now reads
    this group differently, so each present member is touched. `at_ms`: Redis's clock. `trace`: of
    the request, as in `Origin`.
    """

    seq: int
    op: str
    type: str
    id: str
    name: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    all_members: bool
    at_ms: int
    request_id: str
    token_id: str
    trace: str = ""

    @property
    def named(self) -> tuple[str, ...]:
        """The members that it is about."""
        return (*self.added, *self.removed)


Entry = tuple[bytes, Mapping[bytes, bytes]]  # id, and fields as they lie in the stream


async def read(link: Link, keys: Keys, after: int, count: int) -> list[Event]:
    """Return at most `count` events with a seq above `after`, in order."""
    entries = await read_entries(link, keys, after, count)
    return [_parse(entry_id, fields) for entry_id, fields in entries]


async def read_entries(
    link: Link, keys: Keys, after: int, count: int, *, until: int | None = None
) -> list[Entry]:
    """Return the same as they lie there, up to the seq `until` where that is given."""
    most = "+" if until is None else f"{until}-0"
    found: list[Entry] = await link.call(
        link.redis.xrange(keys.events, min=f"{after + 1}-0", max=most, count=count)
    )
    return found


async def read_some(link: Link, keys: Keys, seqs: Iterable[int]) -> list[Event]:
    """Return those of these events that the log has, in order."""
    pipe = link.redis.pipeline(transaction=False)
    for seq in sorted(set(seqs)):
        pipe.xrange(keys.events, min=f"{seq}-0", max=f"{seq}-0")
    found = await link.call(pipe.execute())
    return [_parse(entry_id, fields) for entries in found for entry_id, fields in entries]


async def trim(
    link: Link,
    keys: Keys,
    lanes: Sequence[str],
    awaited: Sequence[str],
    *,
    since_ms: int,
    most: int,
) -> int:
    """Take some events from the log that none of `lanes` needs; return how many.

    `since_ms`: what is younger stays, for identity providers that repeat a request. `most`: how
    many events stay for a lane that is behind; it notices. `awaited`: lanes that are never left
    behind.
    """
    return int(
        await link.scripts.run(
            "trim", keys.seq, encode(list(lanes)), encode(list(awaited)), since_ms, most, _TRIMMED
        )
    )


def _parse(entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    return Event(
        seq=int(entry_id.partition(b"-")[0]),
        op=fields[b"op"].decode(),
        type=fields[b"type"].decode(),
        id=fields[b"id"].decode(),
        name=fields[b"name"].decode(),
        added=tuple(_strings(fields[b"added"])),
        removed=tuple(_strings(fields[b"removed"])),
        all_members=fields[b"all"] == b"1",
        at_ms=int(fields[b"at"]),
        request_id=fields[b"request"].decode(),
        token_id=fields[b"token"].decode(),
        trace=fields.get(b"trace", b"").decode(),
    )
