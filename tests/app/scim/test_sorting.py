"""Sorting: by value where there is one, in the order given where there is none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.scim.schema import USER
from app.scim.sorting import in_order, parse_sort, sort_value

VALUES = st.lists(st.none() | st.integers(0, 3))


@given(values=VALUES, descending=st.booleans())
def test_nothing_is_lost_and_equal_ones_keep_their_order(
    values: list[int | None], descending: bool
) -> None:
    items = list(enumerate(values))
    ordered = in_order(((v, (n, v)) for n, v in items), descending=descending)
    assert sorted(ordered) == items
    for value in {*values}:
        assert [n for n, v in ordered if v == value] == [n for n, v in items if v == value]
    without = [n for n, (_, v) in enumerate(ordered) if v is None]
    edge = range(len(without)) if descending else range(len(values) - len(without), len(values))
    assert without == list(edge)
    present = [v for _, v in ordered if v is not None]
    assert present == sorted(present, reverse=descending)


def test_case_counts_only_where_the_schema_says_so() -> None:
    name, external = parse_sort(USER, "userName"), parse_sort(USER, "externalId")
    document = {"userName": "Ana", "externalId": "Ext"}
    assert (sort_value(name, document), sort_value(external, document)) == ("ana", "Ext")
    assert sort_value(name, {}) is sort_value(None, document) is None
    assert parse_sort(USER, "nonsense") is None
