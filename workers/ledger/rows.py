"""What Redis holds for the ledger, as rows of its tables; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from app.directory.facts import (
    Access,
    AdminAction,
    DeadLetter,
    Drift,
    Fact,
    Receipt,
    Statement,
)
from workers.ledger.chain import LedgerEvent, chained

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_strings = msgspec.json.Decoder(list[str]).decode
_numbers = msgspec.json.Decoder(list[int]).decode


class _Asker(msgspec.Struct):
    ip: str = ""
    agent: str = ""
    salt: str = ""


class _Stated(msgspec.Struct):
    """The header of a stated resource, as it lay in Redis, and the seq of its creation."""

    v: int
    d: int
    c: int
    m: int
    o: int


class _Document(msgspec.Struct):
    active: bool = True


_asker = msgspec.json.Decoder(_Asker).decode
_stated = msgspec.json.Decoder(_Stated).decode
_document = msgspec.json.Decoder(_Document).decode


def at(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def ms(moment: datetime) -> int:
    return round((moment - _EPOCH) / timedelta(milliseconds=1))


def event(tenant: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> LedgerEvent:
    """Return an entry of the event log as an event of the ledger, not chained yet.

    An entry from before there was a ledger has no documents.
    """

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode()

    def strings(name: bytes) -> tuple[str, ...]:
        return tuple(_strings(fields.get(name) or b"[]"))

    asker = _asker(fields.get(b"asker") or b"{}")
    header = _stated(fields[b"header"]) if b"header" in fields else _Stated(0, 0, 0, 0, 0)
    return LedgerEvent(
        tenant=tenant,
        seq=int(entry_id.partition(b"-")[0]),
        at_ms=int(fields[b"at"]),
        op=text(b"op"),
        type=text(b"type"),
        resource_id=text(b"id"),
        added=strings(b"members" if b"members" in fields else b"added"),
        removed=strings(b"removed"),
        groups=strings(b"groups"),
        links=strings(b"links"),
        all_members=fields.get(b"all") == b"1",
        scores=tuple(_numbers(fields.get(b"scores") or b"[]")),
        created_ms=header.c,
        modified_ms=header.m,
        version=header.v,
        document_version=header.d,
        ordered=header.o,
        left=_ends_access(text(b"op"), text(b"type"), text(b"before"), text(b"after")),
        request_id=text(b"request"),
        token_id=text(b"token"),
        name=text(b"name"),
        ip=asker.ip,
        agent=asker.agent,
        before=text(b"before"),
        after=text(b"after"),
        salt=asker.salt,
    )


def _ends_access(op: str, kind: str, before: str, after: str) -> bool:
    """Whether somebody was active before and is not any more."""
    if kind not in {"user", "agent"} or not before or not _is_active(before):
        return False
    return op == "deleted" or (bool(after) and not _is_active(after))


def _is_active(document: str) -> bool:
    try:
        return _document(document).active
    except msgspec.ValidationError:  # no boolean: as good as none
        return True


def chain(previous: str, events: Iterable[LedgerEvent]) -> list[LedgerEvent]:
    """Return `events` with their hashes; `previous`: that of the event before them."""
    rows = []
    for one in events:
        rows.append(chained(previous, one))
        previous = rows[-1].hash
    return rows


EVENT_COLUMNS = (*("at" if name == "at_ms" else name for name in LedgerEvent.__struct_fields__),)


def event_row(one: LedgerEvent) -> Row:
    return tuple(
        at(value) if name == "at_ms" else value
        for name, value in msgspec.structs.asdict(one).items()
    )


def parse_event(row: Row) -> LedgerEvent:
    """Return what `event_row` made, as the driver reads it back."""
    values = dict(zip(LedgerEvent.__struct_fields__, row, strict=True))
    values["at_ms"] = ms(values["at_ms"])
    for name in ("added", "removed", "groups", "links", "scores"):
        values[name] = tuple(values[name])
    for name in ("all_members", "left", "erased"):
        values[name] = bool(values[name])
    return LedgerEvent(**values)


# The table of each kind of fact; its columns are the fact's fields, with the tenant before them.
TABLES: Mapping[type[Fact], str] = {
    Statement: "statements",
    Access: "access",
    Receipt: "receipts",
    Drift: "drift",
    AdminAction: "admin_actions",
    DeadLetter: "dead_letters",
}
_TIMES = {"at_ms": "at", "asked_ms": "asked_at"}


def columns(kind: type[Fact]) -> tuple[str, ...]:
    return ("tenant", *(_TIMES.get(name, name) for name in kind.__struct_fields__))


def fact_row(tenant: str, fact: Fact) -> Row:
    values = msgspec.structs.asdict(fact)
    return (tenant, *(at(v) if name in _TIMES else v for name, v in values.items()))
