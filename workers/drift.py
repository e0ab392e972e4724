"""Drift of one lane: what its target has, against what the directory wants there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.clock import Clock
from app.directory.lanes import ROLE
from app.directory.link import Link
from workers.access.drift import Difference, differences
from workers.clickhouse.pool import Pool
from workers.rehearsal import Rehearsed, rehearse
from workers.setup import Setup


@dataclass(frozen=True, slots=True)
class Drift:
    """`refused`: names that can't be had on the target. They are dead letters; of those that no
    user of ours has had there, nothing is in `differences`.
    """

    differences: list[Difference]
    refused: frozenset[str]


async def check(
    setup: Setup,
    link: Link,
    pool: Pool,
    *,
    batch_users: int,
    clock: Clock,
    told: Callable[[int], None] = lambda _: None,
) -> Drift:
    """Return what differs on the whole target; nothing is changed. Errors as in `rehearse`."""
    done = await rehearse(setup, link, pool, batch_users=batch_users, clock=clock, told=told)
    return drift_of(done)


def drift_of(done: Rehearsed) -> Drift:
    """Return what of this is drift: what would change, and which of our users are out of reach.

    A resource whose name somebody else has on the target has no user there that could drift.
    """
    lost = [
        Difference("user", fault.name, "refused", "applied", fault.error)
        for i, fault in done.faults.items()
        if i in done.known and not i.startswith(ROLE)
    ]
    found = sorted([*differences(done.users, done.roles), *lost])
    return Drift(found, frozenset(fault.name for fault in done.faults.values()))
