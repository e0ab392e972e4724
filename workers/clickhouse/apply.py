"""Carrying a plan out on a target, and finding who is to blame when a statement is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from app.errors import StatementRefused, TargetError
from workers.access.ownership import ALREADY_EXISTS
from workers.access.statements import Statement, render
from workers.access.steps import (
    ROLE_STEPS,
    TAKING,
    Adopt,
    Create,
    Grant,
    Rename,
    RevokeRoles,
    Step,
    UserStep,
    narrow,
)
from workers.clickhouse.target import Target
from workers.witness import Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A user, or a role, for which the server refused a statement when it stood alone in it."""

    name: str
    is_role: bool
    code: int | None
    error: str
    statement: str


async def apply(
    target: Target,
    steps: Iterable[Step],
    marker: str,
    *,
    check: Callable[[], None],
    log_comment: str,
    witness: Witness | None = None,
) -> tuple[Failure, ...]:
    """Carry out `steps` in order; return those who could not have what they should.

    `check` is called before each statement and raises when the lane is no longer ours. `witness`
    hears of each statement before it is sent, and of what became of it. A refused
    statement is split until the guilty name is alone; since it may have been done in part, only
    statements that tolerate repetition are sent again, and after a refused CREATE USER the target
    is asked who exists. Who failed once gets nothing more in this run, but everything that is to be
    taken away is still tried, but from users that could not be adopted: these are not ours.
    TargetUnavailable ends the run: observe and plan anew.
    """
    run = _Run(target, marker, check, log_comment, witness)
    for step in steps:
        await run.do(step)
    return (*run.users.values(), *run.roles.values())


@dataclass(slots=True)
class _Run:
    target: Target
    marker: str
    check: Callable[[], None]
    log_comment: str
    witness: Witness | None
    users: dict[str, Failure] = field(default_factory=dict)
    roles: dict[str, Failure] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    strangers: set[str] = field(default_factory=set)

    async def do(self, step: Step) -> None:
        if isinstance(step, ROLE_STEPS):
            if step.role not in self.roles:
                for statement in render(step, self.marker):
                    await self._send(statement)
            return
        if isinstance(step, TAKING):
            allowed = tuple(name for name in step.names if name not in self.strangers)
        elif isinstance(step, Rename):
            allowed = () if self.barred & {step.previous, step.name} else step.names
            if not allowed:
                self.barred.add(step.name)
        else:
            allowed = tuple(name for name in step.names if name not in self.barred)
        await self._do_for(step, allowed)

    async def _do_for(self, step: UserStep, names: tuple[str, ...]) -> None:
        if names:
            for statement in render(narrow(step, names), self.marker):
                await self._send(statement)

    async def _send(self, statement: Statement) -> None:
        if self.witness is not None:
            statement = await self.witness.sending(statement)
        self.check()
        try:
            await self.target.execute(statement, log_comment=self.log_comment)
        except TargetError as error:
            self._tell(statement, error)
            if not isinstance(error, StatementRefused):
                raise
            await self._split(statement, error)
        else:
            self._tell(statement)

    def _tell(self, statement: Statement, error: TargetError | None = None) -> None:
        if self.witness is not None:
            self.witness.answered(statement, error)

    async def _split(self, statement: Statement, error: StatementRefused) -> None:
        step, names = statement.step, statement.names
        if isinstance(step, ROLE_STEPS):
            self._fail(statement, statement.names[0], error)
        elif isinstance(step, Create):
            await self._create_the_rest(step, statement, error)
        elif len(names) > 1:
            for half in _halves(names):
                await self._do_for(step, half)
        elif isinstance(step, Grant | RevokeRoles) and len(step.roles) > 1:
            # One bad role is no reason to keep the others from somebody, or with somebody.
            for roles in _halves(step.roles):
                await self._do_for(replace(step, roles=roles), names)
        else:
            self._fail(statement, names[0], error)

    async def _create_the_rest(
        self, step: Create, statement: Statement, error: StatementRefused
    ) -> None:
        """Some may exist by now: those with the marker are ours, from the refused statement."""
        self.check()
        there = await self.target.observe(step.names, ())
        for name, state in there.users.items():
            if not state.managed and name in step.names:
                taken = StatementRefused(
                    f"user {name!r} exists and is not managed",
                    code=ALREADY_EXISTS,
                    statement=error.statement,
                )
                self._fail(statement, name, taken)
        rest = tuple(name for name in step.names if name not in there.users)
        if len(rest) < len(step.names):
            await self._do_for(step, rest)
        elif len(rest) == 1:
            self._fail(statement, rest[0], error)
        else:
            for half in _halves(rest):
                await self._do_for(step, half)

    def _fail(self, statement: Statement, name: str, error: StatementRefused) -> None:
        step = statement.step
        is_role = isinstance(step, ROLE_STEPS)
        failure = Failure(
            name=name,
            is_role=is_role,
            code=error.code,
            error=str(error),
            statement=error.statement,
        )
        (self.roles if is_role else self.users).setdefault(name, failure)
        if not is_role:
            self.barred.add(name)
        if isinstance(step, Rename):
            self.barred.add(step.name)
        if isinstance(step, Adopt):
            self.strangers.add(name)


def _halves(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    middle = len(names) // 2
    yield names[:middle]
    yield names[middle:]
