"""Changes of members compose like functions on sets."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scim.members import MemberChange, MemberLog

IDS = st.lists(st.sampled_from("abcdef"), max_size=5).map(tuple)  # few, so that they collide
CHANGES = st.builds(MemberChange, st.none() | IDS, IDS, IDS)
NOTHING = MemberChange()


def plain(change: MemberChange, members: frozenset[str]) -> frozenset[str]:
    """The meaning of a change, on sets."""
    base = members if change.replace is None else frozenset(change.replace)
    return (base - set(change.remove)) | set(change.add)


@given(replace=st.none() | IDS, add=IDS, remove=IDS, members=IDS)
def test_the_normal_form_means_the_same_as_what_it_was_made_of(
    replace: tuple[str, ...] | None,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    members: tuple[str, ...],
) -> None:
    change = MemberChange(replace, add, remove)
    base = set(members if replace is None else replace)
    assert set(change.applied_to(members)) == (base - set(remove)) | set(add)
    assert not set(change.add) & set(change.remove)
    assert change.replace is None or not (change.add or change.remove)


@given(changes=st.lists(CHANGES, max_size=6), members=IDS.map(frozenset))
def test_composition_is_one_after_the_other(
    changes: list[MemberChange], members: frozenset[str]
) -> None:
    expected = reduce(lambda held, change: plain(change, held), changes, members)
    composed = reduce(MemberChange.then, changes, NOTHING)
    log = MemberLog()
    for change in changes:
        log.record(change)
    assert plain(composed, members) == expected
    assert set(composed.applied_to(sorted(members))) == expected
    assert log.change() == composed
    assert log.touched == bool(changes)


@given(a=CHANGES, b=CHANGES, c=CHANGES)
def test_composition_is_associative_and_has_a_unit(
    a: MemberChange, b: MemberChange, c: MemberChange
) -> None:
    left, right = a.then(b).then(c), a.then(b.then(c))
    for members in (frozenset[str](), frozenset("abcdef"), frozenset("ace")):
        assert plain(left, members) == plain(right, members)
        assert plain(a.then(NOTHING), members) == plain(NOTHING.then(a), members)


@given(change=CHANGES)
def test_an_empty_change_is_one_that_changes_no_group(change: MemberChange) -> None:
    groups = [(), tuple("abcdef")]
    assert change.is_empty == all(set(change.applied_to(g)) == set(g) for g in groups)


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (MemberChange(add=("b", "b", "a")), ("a",), ("a", "b")),
        (MemberChange(remove=("a", "x")), ("b", "a", "c"), ("b", "c")),
        (MemberChange(replace=("c", "a", "c")), ("a", "b"), ("c", "a")),
        (MemberChange(replace=()), ("a", "b"), ()),
    ],
    ids=["add", "remove", "replace", "empty the group"],
)
def test_ids_are_unique_and_keep_their_order(
    change: MemberChange, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert change.applied_to(before) == after


def test_adding_again_who_was_removed_before_leaves_him_in() -> None:
    change = MemberChange(remove=("a",)).then(MemberChange(add=("a",)))
    assert change == MemberChange(add=("a",))
