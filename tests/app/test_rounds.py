from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.rounds import Rounds


@given(st.integers(0, 40), st.integers(1, 12), st.sets(st.integers(0, 40), max_size=5))
def test_each_is_looked_at_within_a_round_and_the_lively_ones_in_every_turn(
    count: int, most: int, lively: set[int]
) -> None:
    everybody, rounds = list(range(count)), Rounds[int]()
    turns = [rounds.turn(everybody, lively, most) for _ in range(-(-count // most) or 1)]
    assert {one for turn in turns for one in turn} >= set(everybody)
    for turn in turns:
        assert len(turn) == len(set(turn))
        assert len(turn) <= most + len(lively)
        assert set(turn) >= lively & set(everybody)


def test_a_turn_goes_on_where_the_last_one_ended_whoever_is_gone_meanwhile() -> None:
    rounds = Rounds[str]()
    assert rounds.turn("abcdef", (), 4) == ["a", "b", "c", "d"]
    assert rounds.turn("abcde", (), 4) == ["e", "a", "b", "c"]
