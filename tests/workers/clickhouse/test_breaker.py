"""A target that is away is asked by one at a time, and everybody hears when it is back."""

from __future__ import annotations

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from app.clock import Clock
from app.errors import StatementRefused, TargetUnavailable
from workers.clickhouse.breaker import Breaker


class HandClock(Clock):
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


def asked(breaker: Breaker, *, fails: bool) -> bool:
    """Ask once; return whether the target was asked at all."""
    try:
        with breaker.watching():
            if fails:
                raise TargetUnavailable("away", code=210)  # noqa: TRY301
    except TargetUnavailable as error:
        return error.wait_s is None
    return True


def test_after_a_failure_nobody_asks_for_a_while_and_hears_the_same_error() -> None:
    clock = HandClock()
    breaker = Breaker(clock, random.Random(1))
    assert asked(breaker, fails=True)
    with pytest.raises(TargetUnavailable, match="away") as caught, breaker.watching():
        pytest.fail("the target was asked")
    assert caught.value.code == 210
    assert caught.value.wait_s is not None
    clock.now_s += caught.value.wait_s
    assert asked(breaker, fails=False)
    assert asked(breaker, fails=False)


def test_one_probe_at_a_time_and_the_others_wait_for_it() -> None:
    clock = HandClock()
    breaker = Breaker(clock, random.Random(1))
    asked(breaker, fails=True)
    clock.now_s += 60
    with breaker.watching():
        assert not asked(breaker, fails=False)
    assert asked(breaker, fails=False)


def test_a_refused_statement_is_an_answer() -> None:
    breaker = Breaker(HandClock(), random.Random(1))
    with pytest.raises(StatementRefused), breaker.watching():
        raise StatementRefused("no", code=497)
    assert asked(breaker, fails=False)


class Machine(RuleBasedStateMachine):
    """However failures come, it is asked again within the longest pause, and never storms."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.breaker = Breaker(self.clock, random.Random(7))
        self.failed_at: float | None = None

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule(fails=st.booleans())
    def ask(self, *, fails: bool) -> None:
        if asked(self.breaker, fails=fails):
            self.failed_at = self.clock.now_s if fails else None

    @precondition(lambda self: self.failed_at is not None)
    @rule()
    def wait_long(self) -> None:
        self.clock.now_s += 5.0
        assert asked(self.breaker, fails=True)
        self.failed_at = self.clock.now_s

    @invariant()
    def a_failure_is_followed_by_a_pause(self) -> None:
        if self.failed_at == self.clock.now_s:
            assert not asked(self.breaker, fails=True)


TestMachine = Machine.TestCase
