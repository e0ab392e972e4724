"""What `lane` does: asks lanes how they are, and tells them to stop, go on, or begin again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import click

from app.cli.actions import record_action
from app.cli.linked import wake
from app.cli.lookup import LaneName
from app.cli.output import iso
from app.config.nodes import configured_name
from app.config.settings import Settings
from app.directory.lanes import LaneStatus, LaneStore, State, read_statuses
from app.directory.revocations import with_revocations
from app.directory.rows import lane_row
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable

Order = Literal["pause", "resume", "confirm", "resync"]
_DONE = {"pause": "paused", "resume": "resumed", "confirm": "confirmed", "resync": "resynced"}


@dataclass(slots=True)
class States:
    """Rows of `lane list`; `failures`: of a Redis that does not answer, whose lanes have none."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


async def states(shards: Shards, lanes: Sequence[LaneName]) -> States:
    """Return a row for each lane, in the given order."""
    found: dict[LaneName, LaneStatus] = {}
    result = States()
    for link, tenants in shards.by_link(dict.fromkeys(lane.tenant for lane in lanes)).items():
        try:
            its = [lane for lane in lanes if lane.tenant in set(tenants)]
            statuses = (await read_statuses(link, its)).values()
            found |= zip(its, await with_revocations(link, statuses), strict=True)
        except DirectoryUnavailable as error:
            said = str(error).rstrip(".")
            result.failures.append(
                f"tenants without an answer on {link.name}: {len(tenants)}; {said}"
            )
    result.rows = [_row(found[lane]) for lane in lanes if lane in found]
    return result


async def states_of_targets(shards: Shards, lanes: Sequence[LaneName]) -> States:
    """Return a row for each tenant and target as the file names it, in the given order.

    Of a target whose servers are lanes each, it says how far the last of them is, and the state
    that asks most for somebody; each has a row of its own under `nodes`.
    """
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    found = await states(shards, lanes)
    for row in found.rows:
        rows.setdefault((row["tenant"], configured_name(row["target"])), []).append(row)
    return States([_joined(target, its) for (_, target), its in rows.items()], found.failures)


# Of several servers of a target the state that asks most for somebody is told.
_OF_CONCERN: tuple[State, ...] = ("blocked", "paused", "backing-off", "draining", "idle")


def _joined(target: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if [row["target"] for row in rows] == [target]:
        return rows[0]
    last = min(rows, key=lambda row: (row["applied_seq"], -row["lag_seconds"]))
    errors = (row["last_error"] for row in rows if row["last_error"] is not None)
    return last | {
        "target": target,
        "state": min((row["state"] for row in rows), key=_OF_CONCERN.index),
        "lag_seconds": max(row["lag_seconds"] for row in rows),
        "dead_letters": sum(row["dead_letters"] for row in rows),
        "held": sum(row["held"] for row in rows),
        "last_error": next(errors, None),
        "revocation_since": min(
            (row["revocation_since"] for row in rows if row["revocation_since"]), default=None
        ),
        "nodes": rows,
    }


async def ordered(
    shards: Shards, settings: Settings, lanes: Sequence[LaneName], order: Order
) -> States:
    """Give the order to each lane; return how they are after it.

    Raises ClickException, and resumes none, if one holds what has to be confirmed.
    """
    if order == "resume":
        await _refuse_blocked(shards, lanes)
    for lane in lanes:
        store = LaneStore(shards.of(lane.tenant), *lane)
        match order:
            case "pause":
                await store.pause()
            case "resume":
                await store.resume()
            case "confirm":
                await store.confirm()
                await store.resume()
            case "resync":
                await store.ask(resync=True)
    for lane in lanes:
        told = f"lane.{_DONE[order]}"
        link = shards.of(lane.tenant)
        await record_action(link, settings, lane.tenant, told, subject=str(lane))
    if order != "pause":
        await wake(settings, lanes)
    return await states(shards, lanes)


async def _refuse_blocked(shards: Shards, lanes: Sequence[LaneName]) -> None:
    found = await states(shards, lanes)
    if found.failures:
        raise DirectoryUnavailable(found.failures[0])
    for row in found.rows:
        if row["state"] == "blocked":
            raise click.ClickException(f"{row['tenant']}/{row['target']}: {row['last_error']}")


def _row(status: LaneStatus) -> dict[str, Any]:
    return lane_row(status) | {
        "held": status.held,
        "next_attempt_at": iso(status.next_attempt_ms),
        "since": iso(status.since_ms),
    }
