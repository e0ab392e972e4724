"""Looking whether somebody is out, and putting somebody out of one server at once."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from app.clock import Clock
from workers.access.leaving import ways_in
from workers.access.statements.leaving import alike_query, running_query
from workers.access.steps import Hold, KillQueries, Lock, Step, StripPrivileges, StripRoles
from workers.clickhouse.apply import apply
from workers.clickhouse.pool import Pool
from workers.clickhouse.target import Target

_FIRST_S, _LONGEST_S = 0.02, 0.5


async def look(pool: Pool, marker: str, names: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return what each of these has left on the server; nothing for one who is out, or not there.

    Raises TargetError.
    """
    users = await Target(pool, marker, Clock()).users(names)
    async with pool.session() as session:
        rows = await session.query(running_query(names))
    running = {user: int(count) for user, count in rows}
    return {name: ways_in(users.get(name), running.get(name, 0)) for name in names}


@dataclass(frozen=True, slots=True)
class Sought:
    """Who is meant. `names`: what the person is called on the target; `perhaps`: if nobody is
    called so there, then one of these. Case matters where somebody has the very name.
    """

    names: tuple[str, ...]
    perhaps: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.names, *self.perhaps)

    def among(self, there: Collection[str]) -> tuple[str, ...]:
        """Return those who are meant."""
        for names in (self.names, self.perhaps):
            folded = {name.lower() for name in names}
            exact = tuple(name for name in there if name in names)
            if found := exact or tuple(name for name in there if name.lower() in folded):
                return found
        return ()


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of putting `name` out of one server. `left`: what the user still has there."""

    name: str
    result: Literal["out", "left", "unmanaged"]
    left: tuple[str, ...] = ()


async def put_out(
    pool: Pool, marker: str, sought: Sought, *, hold: bool, within_s: float, clock: Clock
) -> tuple[Ended, ...]:
    """Take all that a managed user holds on the server; kill what it runs, lock it, and look until
    nothing is left or `within_s` is over. Nothing is returned where there is no such user.

    What was there before does not matter, and nothing is asked of anybody else. `hold`: lock it so
    that no lane opens it (`Door.HELD`). Raises TargetError.
    """
    until = clock.monotonic() + within_s
    async with pool.session() as session:
        rows = await session.query(alike_query(sought.all, marker))
    there = sorted(name for (name,) in rows)
    states = (await Target(pool, marker, clock).observe(there, ())).users
    managed = [name for name in there if name in states and states[name].managed]
    ours = sought.among(managed)
    strangers = () if ours else sought.among(there)
    left: dict[str, tuple[str, ...]] = {}
    pause_s = _FIRST_S
    while ours:
        failures = await apply(
            Target(pool, marker, clock),
            _steps(ours, hold=hold),
            marker,
            check=lambda: None,
            log_comment='{"clickhouse-scim":"revoke --now"}',
        )
        left = await look(pool, marker, ours)
        for failure in failures:
            left[failure.name] = (*left.get(failure.name, ()), failure.error)
        if not any(left.values()) or clock.monotonic() >= until:
            break
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_S)
    return (
        *(Ended(name, "left" if left[name] else "out", left[name]) for name in ours),
        *(Ended(name, "unmanaged") for name in strangers),
    )


def _steps(names: tuple[str, ...], *, hold: bool) -> tuple[Step, ...]:
    """In this order, as in `plan`: what begins after the loss of all rights can do nothing."""
    return (
        StripRoles(names),
        StripPrivileges(names),
        Hold(names) if hold else Lock(names),
        KillQueries(names),
    )
