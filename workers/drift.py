"""Drift of one lane: what its target has, against what the directory wants there."""

from __future__ import annotations

from dataclasses import dataclass

from app.directory.lanes import ROLE
from workers.access.drift import Difference, differences
from workers.rehearsal import Rehearsed


@dataclass(frozen=True, slots=True)
class Drift:
    """`refused`: names that can't be had on the target. They are dead letters; of those that no
    user of ours has had there, nothing is in `differences`.
    """

    differences: list[Difference]
    refused: frozenset[str]


def drift_of(done: Rehearsed) -> Drift:
    """Return what of this is drift: what would change, what others gave and the policy keeps, and
    which of our users are out of reach.

    A resource whose name somebody else has on the target has no user there that could drift.
    """
    lost = [
        Difference("user", fault.name, "refused", "applied", fault.error)
        for i, fault in done.faults.items()
        if i in done.known and not i.startswith(ROLE)
    ]
    foreign = [
        Difference(
            "role" if one.is_role else "user",
            one.name,
            f"foreign {one.kind}",
            "none",
            one.what,
            kept=True,
        )
        for one in done.foreign
    ]
    found = sorted([*differences(done.users, done.roles), *lost, *foreign])
    return Drift(found, frozenset(fault.name for fault in done.faults.values()))
