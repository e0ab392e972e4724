"""The brake: whether changes take access from too many people in one go; pure.

An identity provider that loses a group, a filter that was mistyped, or a role map with a line less
would otherwise take access from everybody within seconds. What one person loses by a change that
concerns nobody else is held only where such changes come in a stream.

A run is losses that follow one another within APART_MS, by the times of the changes behind them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from workers.access.model import Door, UserState
from workers.access.steps import (
    Create,
    Drop,
    Grant,
    Lock,
    RevokeRoles,
    StripRoles,
    Unlock,
    UserStep,
)

APART_MS = 10_000


@dataclass(frozen=True, slots=True)
class Tally:
    """An amount of access: `users` who may log in, `grants` of roles to users."""

    users: int = 0
    grants: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.users + other.users, self.grants + other.grants)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.users - other.users, self.grants - other.grants)


NOTHING = Tally()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one person loses. `at_ms`: when the change behind it was made; `single`: it concerns
    this person alone.
    """

    taken: Tally
    at_ms: int
    single: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may go in a run: `share` of all (1 = everything), or less than `at_least`."""

    share: float
    at_least: int

    def is_reached(self, gone: Tally) -> bool:
        """Whether it can be too much at all, however much there is."""
        return max(gone.users, gone.grants) >= self.at_least

    def is_exceeded(self, gone: Tally, whole: Tally) -> bool:
        """Whether `gone` is too much of `whole`, which is what there was before."""
        return any(
            part >= self.at_least and part > self.share * of
            for part, of in ((gone.users, whole.users), (gone.grants, whole.grants))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """`losses`: by resource id, of those who have not got it back. `given`: what others got since
    it began. `last_ms`: when the last change was made, 0 for none ever.
    """

    losses: Mapping[str, Loss] = field(default_factory=dict)
    given: Tally = NOTHING
    last_ms: int = 0

    def is_over(self, at_ms: int) -> bool:
        """Whether a change of this time begins another one."""
        return at_ms - self.last_ms >= APART_MS

    @property
    def gone(self) -> Tally:
        return sum((loss.taken for loss in self.losses.values()), NOTHING)

    def after(self, given: Mapping[str, Tally], at_ms: int) -> Run:
        """Return the same once a plan of this time has given so much to these ids."""
        if not self.losses or self.is_over(at_ms):
            return self
        others = (tally for i, tally in given.items() if i not in self.losses)
        return replace(
            self,
            losses={i: loss for i, loss in self.losses.items() if i not in given},
            given=sum(others, self.given),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """`held`: the ids whose loss has to wait for somebody to confirm it. `run`: the one that is
    under way after the plan.
    """

    held: frozenset[str]
    run: Run


def balance(
    steps: Iterable[UserStep], users: Mapping[str, UserState]
) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Return what these steps take and give, by ClickHouse name; `users`: what is there before.

    A user that is replaced by a new one of the same name shows on both sides.
    """
    taken: dict[str, Tally] = {}
    given: dict[str, Tally] = {}

    def note(to: dict[str, Tally], name: str, users: int, grants: int) -> None:
        if users or grants:
            to[name] = to.get(name, NOTHING) + Tally(users, grants)

    for step in steps:
        for name in step.names:
            state = users.get(name)
            if isinstance(step, RevokeRoles):
                note(taken, name, 0, len(step.roles))
            elif isinstance(step, StripRoles):
                note(taken, name, 0, len(state.roles) if state else 0)
            elif isinstance(step, Lock):
                note(taken, name, int(state is not None and state.door is Door.OPEN), 0)
            elif isinstance(step, Drop):
                continue  # whoever is dropped is locked by the same plan
            elif isinstance(step, Unlock) or (isinstance(step, Create) and not step.locked):
                note(given, name, 1, 0)
            elif isinstance(step, Grant):
                note(given, name, 0, len(step.roles))
    return taken, given


def judge(
    new: Mapping[str, Loss], given: Tally, run: Run, now: Tally | None, limit: Limit
) -> Verdict | None:
    """Return whose loss has to wait; None if that depends on how much there is, and `now` is None.

    `new`: what a plan takes, by resource id; `given`: what it gives to people; `run`: the one so
    far; `now`: what all hold before the plan. Losses of many people by one change are judged with
    everything in their run, all or none; those of one person each with their like only, so that
    somebody who leaves is not held since a group was emptied. What others get in the same run is
    counted against what is lost: people who move are no mass removal.
    """
    held: set[str] = set()
    for losses in _runs(new):
        if run.is_over(min(loss.at_ms for loss in losses.values())):
            run = Run()
        net = given + run.given
        earlier = {i: loss for i, loss in run.losses.items() if i not in losses}
        for single in (False, True):
            ours = {i: loss for i, loss in losses.items() if loss.single is single}
            theirs = {i: loss for i, loss in earlier.items() if loss.single or not single}
            people = len(ours) + len(theirs)
            gone = Run(losses={**theirs, **ours}).gone
            if not ours or people < (limit.at_least if single else 2):
                continue
            if limit.is_reached(gone - net):
                if now is None:
                    return None
                if limit.is_exceeded(gone - net, now + Run(losses=run.losses).gone - run.given):
                    held |= ours.keys()
        passed = {i: loss for i, loss in losses.items() if i not in held}
        run = replace(
            run,
            losses={**run.losses, **passed},
            last_ms=max(run.last_ms, *(loss.at_ms for loss in losses.values())),
        )
    return Verdict(frozenset(held), run)


def _runs(losses: Mapping[str, Loss]) -> Iterator[dict[str, Loss]]:
    part: dict[str, Loss] = {}
    last_ms = 0
    for i, loss in sorted(losses.items(), key=lambda item: (item[1].at_ms, item[0])):
        if part and loss.at_ms - last_ms >= APART_MS:
            yield part
            part = {}
        part[i], last_ms = loss, loss.at_ms
    if part:
        yield part
