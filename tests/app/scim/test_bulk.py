"""Laws of Bulk requests: every order keeps what references need, and the client's order else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scim.bulk import BulkOperation, order, references, resolved, without

NAMES = st.sampled_from("abcdefgh")


@st.composite
def requests(draw: st.DrawFn) -> tuple[BulkOperation, ...]:
    """Return creations, each with references to any of them, and others between."""
    count = draw(st.integers(0, 8))
    made = [
        BulkOperation(
            method="POST",
            path="/Groups",
            bulk_id="abcdefgh"[n],
            data={"members": [f"bulkId:{name}" for name in draw(st.lists(NAMES, max_size=3))]},
        )
        for n in range(count)
    ]
    others = draw(st.lists(NAMES, max_size=3))
    made += [BulkOperation(method="DELETE", path="", id=f"bulkId:{name}") for name in others]
    return tuple(draw(st.permutations(made)))


@given(operations=requests())
def test_an_order_has_every_operation_once(operations: tuple[BulkOperation, ...]) -> None:
    assert sorted(order(operations)) == list(range(len(operations)))


@given(operations=requests())
def test_without_a_circle_nothing_comes_before_what_it_refers_to(
    operations: tuple[BulkOperation, ...],
) -> None:
    makers = {o.bulk_id: n for n, o in enumerate(operations) if o.bulk_id}
    needs = {n: {makers[r] for r in references(o) if r in makers} for n, o in enumerate(operations)}
    place = {number: at for at, number in enumerate(order(operations))}
    for number, needed in needs.items():
        for other in needed:
            if number not in reachable(other, needs):
                assert place[other] < place[number]


@given(operations=requests())
def test_what_needs_nothing_later_keeps_its_place(operations: tuple[BulkOperation, ...]) -> None:
    makers = {o.bulk_id: n for n, o in enumerate(operations) if o.bulk_id}
    if all(makers.get(r, -1) < n for n, o in enumerate(operations) for r in references(o)):
        assert order(operations) == list(range(len(operations)))


def reachable(start: int, needs: dict[int, set[int]]) -> set[int]:
    found, waiting = {start}, [start]
    while waiting:
        fresh = needs[waiting.pop()] - found
        found |= fresh
        waiting += fresh
    return found


IDS = {"x": "1", "y": "2"}
TEXTS: dict[str, tuple[Any, Any]] = {
    "a whole string": ("bulkId:x", "1"),
    "inside": ([{"value": "bulkId:y"}], [{"value": "2"}]),
    "in a filter": ('members[value eq "bulkId:x"]', 'members[value eq "1"]'),
    "in a reference": ("../Users/bulkId:x", "../Users/1"),
    "of nothing": ("bulkId:z", "bulkId:z"),
    "not one": ("see bulkId:x there", "see bulkId:x there"),
    "a number": (5, 5),
}


@pytest.mark.parametrize(("value", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_references_are_replaced_where_they_are_some(value: Any, expected: Any) -> None:
    assert resolved(value, IDS) == expected


def test_a_value_goes_with_what_it_refers_to() -> None:
    data = {
        "displayName": "Team",
        "members": [{"value": "bulkId:x", "type": "User"}, {"value": "bulkId:y"}, "bulkId:x"],
        "urn": {"manager": {"value": "bulkId:x"}, "department": "D"},
    }
    assert without(data, frozenset({"x"})) == {
        "displayName": "Team",
        "members": [{"value": "bulkId:y"}],
        "urn": {"department": "D"},
    }
