"""The chain of hashes over a tenant's events; pure.

An event's hash covers its own values and the hash of the event before it, so one that is changed,
taken out or put in breaks the chain from there on. Personal data goes in as a digest with a random
salt: it can be erased, salt and all, and the chain still holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

START = "0" * 64  # the hash before the first event

_encode = msgspec.json.Encoder().encode


class LedgerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `events`, in the order of its columns. Times in ms since 1970.

    `op`: created, updated, deleted, or stated (told to the ledger as it was found). `added`,
    `removed`: members that a group gained and lost; `groups`: groups that a deleted resource was
    in; `links`: keys of the role map that the group got; `scores`: only of a stated resource, the
    seqs since when `added` are members. `created`, `version`, `ordered`: only of a stated one: when
    it was made, its version before, the seq of its creation. `left`: 1 if somebody's access ends
    with it. `before`, `after`: documents, "" where there is none or it has not changed.
    """

    tenant: str
    seq: int
    at_ms: int
    op: str
    type: str
    resource_id: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    all_members: bool = False
    scores: tuple[int, ...] = ()
    created_ms: int = 0
    modified_ms: int = 0
    version: int = 0
    document_version: int = 0
    ordered: int = 0
    left: bool = False
    request_id: str = ""
    token_id: str = ""
    name: str = ""
    ip: str = ""
    agent: str = ""
    before: str = ""
    after: str = ""
    salt: str = ""
    personal: str = ""
    hash: str = ""
    erased: bool = False


_PERSONAL = ("salt", "name", "ip", "agent", "before", "after")
_OPEN = tuple(
    name
    for name in LedgerEvent.__struct_fields__
    if name not in {*_PERSONAL, "hash", "erased"}  # `personal` itself is covered
)


def personal_digest(event: LedgerEvent) -> str:
    """Return the digest of what may be erased."""
    values = [getattr(event, name) for name in _PERSONAL]
    return hashlib.sha256(_encode(values)).hexdigest()


def chained(previous: str, event: LedgerEvent) -> LedgerEvent:
    """Return `event` with its digest and its hash."""
    digested = msgspec.structs.replace(event, personal=personal_digest(event))
    return msgspec.structs.replace(digested, hash=_hash(previous, digested))


def _hash(previous: str, event: LedgerEvent) -> str:
    values = [getattr(event, name) for name in _OPEN]
    return hashlib.sha256(_encode([previous, values])).hexdigest()


@dataclass(frozen=True, slots=True)
class Break:
    """What is wrong with the chain at `seq`."""

    seq: int
    reason: str


@dataclass(slots=True)
class Verification:
    """Goes through a tenant's events in their order; what it yields is wrong.

    `first`: seq of the first event, more than 1 where the ledger began later or its oldest rows
    have aged out. `aged`: that is so, and what was before the first is not known. `seq`, `hash`:
    those of the last event. `checked`, `erased`: how many, and how many without personal data.
    """

    aged: bool = False
    first: int = 0
    seq: int = 0
    hash: str = START
    checked: int = 0
    erased: int = 0

    def check(self, events: Iterable[LedgerEvent]) -> Iterator[Break]:
        """Yield the breaks among `events`, which follow on those of the call before."""
        for event in events:
            reason = self._reason(event)
            if reason is not None:
                yield Break(event.seq, reason)
            self.first = self.first or event.seq
            self.seq, self.hash = event.seq, event.hash
            self.checked += 1
            self.erased += event.erased

    def _reason(self, event: LedgerEvent) -> str | None:
        if self.checked and event.seq != self.seq + 1:
            return f"events {self.seq + 1} to {event.seq - 1} are missing before it"
        knows = self.checked > 0 or not self.aged
        if knows and _hash(self.hash, event) != event.hash:
            return "it, or what came before it, is not what was written"
        if not event.erased and personal_digest(event) != event.personal:
            return "names or documents are not what was written"
        return None
