"""Whether targets still have the marker roles that tell managed users from all others."""

from __future__ import annotations

from collections.abc import Iterable

from app.clock import Clock
from app.directory.lanes import LaneStatus
from app.doctor.finding import Finding, fail, ok
from app.errors import TargetError
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target


async def examine_markers(
    lanes: Iterable[tuple[LaneStatus, Endpoint, str]], clock: Clock
) -> list[Finding]:
    """Return a finding about each lane's marker role, the third of each; none about lanes that have
    not brought anything onto their target, and where it does not answer.
    """
    found: list[Finding] = []
    for lane, endpoint, marker in lanes:
        if not lane.applied_seq:
            continue
        pool = Pool(endpoint)
        try:
            actual = await Target(pool, marker, clock).observe((), ())
        except TargetError:
            continue  # the findings about the target say why
        finally:
            await pool.close()
        found.append(judge_marker(lane, marker, is_there=marker in actual.roles))
    return found


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
