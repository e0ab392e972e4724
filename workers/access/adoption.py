"""Which users that are on a target already a tenant's resources would get: a report, pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workers.access.model import Actual, Policy, Wanted
from workers.access.plan import plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A resource whose name a user has. `adopt`: it can become the resource's; `refuse`: it can't,
    and `reason` says why; `adopted`: it is already; `managed`: the software made it.

    `gains`, `loses`: roles that it would get and that would be taken; others it keeps.
    """

    resource_id: str
    name: str
    verdict: Literal["adopt", "refuse", "adopted", "managed"]
    reason: str = ""
    gains: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()


def match(wanted: Sequence[Wanted], actual: Actual, policy: Policy) -> Iterator[Match]:
    """Yield a match for each of `wanted` whose name a user of the target has, by name, as if it had
    been said of all of them that they are to be adopted. `actual` and `wanted` are as for `plan`.
    """
    willing = replace(policy, adopt_existing=True, consents={})
    reasons = {r.resource_id: r.error for r in plan(wanted, actual, willing).refusals}
    for want in sorted(wanted, key=lambda w: w.name or ""):
        state = actual.users.get(want.name or "")
        if want.name is None or state is None:
            continue
        if state.managed:
            is_adopted = policy.record_of(want.name, state) is not None
            verdict: Literal["adopted", "managed"] = "adopted" if is_adopted else "managed"
            yield Match(resource_id=want.resource_id, name=want.name, verdict=verdict)
        elif (reason := reasons.get(want.resource_id)) and not reason.startswith(
            "there is no role"
        ):
            yield Match(
                resource_id=want.resource_id, name=want.name, verdict="refuse", reason=reason
            )
        else:
            yield Match(
                resource_id=want.resource_id,
                name=want.name,
                verdict="adopt",
                gains=tuple(sorted((want.roles & actual.roles.keys()) - state.roles)),
                loses=tuple(sorted((state.roles & policy.vocabulary) - want.roles)),
            )
