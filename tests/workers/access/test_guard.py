"""The brake holds what an accident looks like, and nobody who leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.access.guard import APART_MS, NOTHING, Limit, Loss, Run, Tally, balance, judge
from workers.access.model import Door, Login, UserState
from workers.access.steps import (
    Create,
    Drop,
    Grant,
    KillQueries,
    Lock,
    RevokeRoles,
    StripRoles,
    Unlock,
)

LIMIT = Limit(0.2, 10)
T = 1_000_000  # any time
LOGIN = Login("no_password")


def many(count: int, *, at_ms: int = T, first: int = 0) -> dict[str, Loss]:
    """By one change, each loses one role."""
    return {
        f"m{number}": Loss(taken=Tally(0, 1), at_ms=at_ms, single=False)
        for number in range(first, first + count)
    }


def leavers(count: int, *, every_ms: int, at_ms: int = T) -> dict[str, Loss]:
    """By a change each, with a log-in and two roles each."""
    return {
        f"s{number}": Loss(taken=Tally(1, 2), at_ms=at_ms + number * every_ms, single=True)
        for number in range(count)
    }


def held(
    new: dict[str, Loss],
    *,
    users: int = 40,
    grants: int = 80,
    gives: Tally = NOTHING,
    run: Run | None = None,
) -> frozenset[str]:
    verdict = judge(new, gives, run or Run(), Tally(users, grants), LIMIT)
    assert verdict is not None
    return verdict.held


CASES = {  # what is lost, of how much, whether it is held
    "a small group is emptied": (many(9), 40, 40, False),
    "ten of fifty grants are the share": (many(10), 50, 50, False),
    "eleven of fifty are more": (many(11), 50, 50, True),
    "a group of a tenth is emptied": (many(100), 1000, 1000, False),
    "everybody": (many(1000), 1000, 1000, True),
    "all log-ins of few grants": (leavers(30, every_ms=100), 40, 1000, True),
    "one person with many roles": (
        {"ana": Loss(taken=Tally(1, 30), at_ms=T, single=True)},
        3,
        40,
        False,
    ),
    "one person by a change of many": (
        {"ana": Loss(taken=Tally(1, 30), at_ms=T, single=False)},
        3,
        40,
        False,
    ),
    "nine people leave, one by one": (leavers(9, every_ms=100), 10, 20, False),
    "500 people leave within a minute": (leavers(500, every_ms=120), 1000, 2000, True),
    "500 people leave over a day": (leavers(500, every_ms=170_000), 1000, 2000, False),
}


@pytest.mark.parametrize(("new", "users", "grants", "is_held"), CASES.values(), ids=CASES.keys())
def test_what_is_held(new: dict[str, Loss], users: int, grants: int, *, is_held: bool) -> None:
    assert held(new, users=users, grants=grants) == (new.keys() if is_held else set())


def test_somebody_who_leaves_beside_a_mass_removal_is_not_held() -> None:
    new = many(30) | leavers(1, every_ms=0)
    assert held(new) == many(30).keys()


def test_groups_that_are_emptied_one_after_the_other_are_one_removal() -> None:
    run, users, held_so_far = Run(), 100, 0
    for turn in range(20):
        new = many(8, at_ms=T + turn * 500, first=turn * 8)
        gone = len(run.losses)
        verdict = judge(new, NOTHING, run, Tally(users, 160 - gone), LIMIT)
        assert verdict is not None
        run, held_so_far = verdict.run, held_so_far + len(verdict.held)
    assert held_so_far >= 160 * 0.8


def test_a_later_removal_begins_anew() -> None:
    verdict = judge(many(9), NOTHING, Run(), Tally(40, 40), LIMIT)
    assert verdict is not None
    again = many(9, at_ms=T + APART_MS, first=9)
    assert held(again, run=verdict.run, grants=31) == set()
    soon = many(9, at_ms=T + APART_MS - 1, first=9)
    assert held(soon, run=verdict.run, grants=31) == soon.keys()


def test_people_who_move_are_no_mass_removal() -> None:
    assert held(many(30), gives=Tally(0, 25)) == set()
    assert held(many(30), gives=Tally(0, 5)) == many(30).keys()


def test_what_is_given_back_does_not_count_any_more() -> None:
    verdict = judge(many(9), NOTHING, Run(), Tally(40, 40), LIMIT)
    assert verdict is not None
    run = verdict.run.after(dict.fromkeys(many(9), Tally(0, 1)), T + 10)
    assert (run.losses, run.given) == ({}, NOTHING)
    run = verdict.run.after({"other": Tally(0, 3)}, T + 10)
    assert (run.losses.keys(), run.given) == (many(9).keys(), Tally(0, 3))


def test_nobody_is_asked_how_much_there_is_where_it_does_not_matter() -> None:
    assert judge(many(9), NOTHING, Run(), None, LIMIT) is not None
    assert judge(many(10), NOTHING, Run(), None, LIMIT) is None


@given(
    count=st.integers(1, 60),
    gap=st.integers(APART_MS, 10 * APART_MS),
    users=st.integers(1, 60),
    roles=st.integers(0, 60),
)
def test_whoever_leaves_alone_is_never_held(count: int, gap: int, users: int, roles: int) -> None:
    new = {
        f"s{number}": Loss(taken=Tally(1, roles), at_ms=T + number * gap, single=True)
        for number in range(count)
    }
    assert held(new, users=users, grants=users * roles) == set()


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    users=st.integers(1, 200),
)
def test_a_run_never_takes_more_than_the_share_unheld(sizes: list[int], users: int) -> None:
    """However a removal is cut into changes."""
    run, left, number = Run(), users, 0
    for turn, size in enumerate(sizes):
        size = min(size, left)  # noqa: PLW2901
        new = many(size, at_ms=T + turn, first=number)
        number += size
        verdict = judge(new, NOTHING, run, Tally(0, left), LIMIT)
        assert verdict is not None
        run = verdict.run
        left -= size - len(verdict.held)
    assert users - left <= max(LIMIT.at_least - 1, LIMIT.share * users)


def test_what_a_plan_takes_and_gives() -> None:
    users = {
        "open": UserState(managed=True, roles=frozenset("ab"), login=LOGIN),
        "locked": UserState(managed=True, login=LOGIN, door=Door.LOCKED),
    }
    names = ("locked", "open")
    taken, given_ = balance(
        [
            RevokeRoles(("open",), ("a",)),
            StripRoles(names),
            KillQueries(names),
            Lock(names),
            Drop(names),
            Create(("new",), LOGIN),
            Create(("inactive",), LOGIN, locked=True),
            Unlock(("locked",), LOGIN),
            Grant(("new", "locked"), ("a", "b")),
        ],
        users,
    )
    assert taken == {"open": Tally(1, 3)}
    assert given_ == {"new": Tally(1, 2), "locked": Tally(1, 2)}
