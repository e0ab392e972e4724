"""The chain over a tenant's events: no change of it stays unseen, and people can be erased."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.ledger.chain import START, Break, LedgerEvent, Verification
from workers.ledger.rows import chain

TEXT = st.text(max_size=5)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
EVENTS = st.lists(
    st.builds(
        LedgerEvent,
        tenant=st.just("acme"),
        seq=st.just(0),
        at_ms=st.integers(0, 2**41),
        op=st.sampled_from(["created", "updated", "deleted"]),
        type=st.sampled_from(["user", "group"]),
        resource_id=TEXT,
        added=TEXTS,
        removed=TEXTS,
        request_id=TEXT,
        token_id=TEXT,
        name=TEXT,
        before=TEXT,
        after=TEXT,
        salt=TEXT,
    ),
    min_size=1,
    max_size=6,
)
PERSONAL = {"name": "", "before": "", "after": "", "ip": "", "agent": "", "salt": ""}


def numbered(events: list[LedgerEvent]) -> list[LedgerEvent]:
    return [msgspec.structs.replace(e, seq=seq) for seq, e in enumerate(events, 1)]


def breaks(events: list[LedgerEvent], **options: Any) -> list[Break]:
    return list(Verification(**options).check(events))


@given(EVENTS)
def test_what_was_written_holds(events: list[LedgerEvent]) -> None:
    rows = chain(START, numbered(events))
    verification = Verification()
    assert not list(verification.check(rows))
    assert (verification.seq, verification.hash) == (len(rows), rows[-1].hash)
    assert (verification.first, verification.checked, verification.erased) == (1, len(rows), 0)


@given(EVENTS, st.data())
def test_a_chain_goes_on_over_blocks(events: list[LedgerEvent], data: st.DataObject) -> None:
    whole = chain(START, numbered(events))
    cut = data.draw(st.integers(0, len(events)))
    first = chain(START, numbered(events)[:cut])
    rest = chain(first[-1].hash if first else START, numbered(events)[cut:])
    assert first + rest == whole


CHANGES: dict[str, dict[str, Any]] = {
    "op": {"op": "stated"},
    "time": {"at_ms": 2**42},
    "who": {"resource_id": "somebody else"},
    "member added": {"added": ("x", "y", "z", "v")},
    "member removed": {"removed": ("x", "y", "z", "v")},
    "token": {"token_id": "another"},
    "request": {"request_id": "another"},
    "name": {"name": "another"},
    "document": {"after": "{'another': 1}"},
    "document before": {"before": "{'another': 1}"},
    "address": {"ip": "1.2.3.4"},
    "digest": {"personal": "0" * 64},
    "hash": {"hash": "0" * 64},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@given(events=EVENTS, data=st.data())
def test_each_value_that_is_changed_by_hand_is_found(
    change: dict[str, Any], events: list[LedgerEvent], data: st.DataObject
) -> None:
    rows = chain(START, numbered(events))
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = msgspec.structs.replace(rows[at], **change)
    assert at + 1 in {one.seq for one in breaks(rows)}


@given(EVENTS, st.data())
def test_a_row_that_is_missing_is_found(events: list[LedgerEvent], data: st.DataObject) -> None:
    rows = chain(START, numbered([*events, *events]))
    at = data.draw(st.integers(0, len(rows) - 2))
    del rows[at]
    assert breaks(rows)


@given(EVENTS, st.data())
def test_somebody_who_is_erased_breaks_nothing(
    events: list[LedgerEvent], data: st.DataObject
) -> None:
    rows = chain(START, numbered(events))
    at = data.draw(st.integers(0, len(rows) - 1))
    rows[at] = msgspec.structs.replace(rows[at], erased=True, **PERSONAL)
    verification = Verification()
    assert not list(verification.check(rows))
    assert verification.erased == 1


def test_rows_that_have_aged_out_are_no_break_where_that_is_meant_to_be() -> None:
    event = LedgerEvent(tenant="a", seq=0, at_ms=1, op="created", type="user", resource_id="u")
    rows = chain(START, numbered([event] * 5))[2:]
    assert not breaks(rows, aged=True)
    assert [one.seq for one in breaks(rows)] == [3]
