"""Whether targets still have the marker roles that tell managed users from all others."""

from __future__ import annotations

from collections.abc import Mapping

from app.clock import Clock
from app.directory.lanes import LaneStatus
from app.doctor.finding import Finding, fail, ok
from app.errors import TargetError
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target


async def examine_markers(
    endpoint: Endpoint, lanes: Mapping[LaneStatus, str], clock: Clock
) -> list[Finding]:
    """Return a finding about the marker role of each lane of one target; none about lanes that have
    not brought anything onto it, and none where it does not answer.
    """
    used = {lane: marker for lane, marker in lanes.items() if lane.applied_seq}
    if not used:
        return []
    pool = Pool(endpoint)
    try:
        first, *others = sorted(set(used.values()))
        roles = (await Target(pool, first, clock).observe((), others)).roles
    except TargetError:
        return []  # the findings about the target say why
    finally:
        await pool.close()
    return [judge_marker(lane, marker, is_there=marker in roles) for lane, marker in used.items()]


def judge_marker(lane: LaneStatus, marker: str, *, is_there: bool) -> Finding:
    name = f"{lane.tenant}/{lane.target}"
    if is_there:
        return ok("marker role", name, f"{marker} is there")
    return fail(
        "marker role",
        name,
        f"{marker} is gone: nothing on the target says which users are managed. The lane makes it"
        " again and marks the users that it knows and that are as it left them; each other one"
        " becomes a dead letter",
        f"clickhouse-scim lane resync {lane.tenant} {lane.target}",
    )
