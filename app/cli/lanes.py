"""What `lane` does: asks lanes how they are, and tells them to stop, go on, or begin again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import click

from app.cli.actions import record_action
from app.cli.linked import wake
from app.cli.lookup import LaneName
from app.cli.output import iso
from app.config.nodes import configured_name
from app.config.settings import Settings
from app.directory.lanes import LaneStatus, LaneStore, read_statuses
from app.directory.link import Link
from app.directory.rows import lane_row

Order = Literal["pause", "resume", "confirm", "resync"]
_DONE = {"pause": "paused", "resume": "resumed", "confirm": "confirmed", "resync": "resynced"}


async def states(link: Link, lanes: Sequence[LaneName]) -> list[dict[str, Any]]:
    """Return a row for each lane, in the given order."""
    return [_row(status) for status in (await read_statuses(link, lanes)).values()]


async def states_of_targets(link: Link, lanes: Sequence[LaneName]) -> list[dict[str, Any]]:
    """Return a row for each tenant and target as the file names it, in the given order.

    Of a target whose servers are lanes each, it says how far the last of them is, and has a row for
    each under `nodes`.
    """
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in await states(link, lanes):
        rows.setdefault((row["tenant"], configured_name(row["target"])), []).append(row)
    return [_joined(target, its) for (_, target), its in rows.items()]


def _joined(target: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if [row["target"] for row in rows] == [target]:
        return rows[0]
    last = min(rows, key=lambda row: (row["applied_seq"], -row["lag_seconds"]))
    errors = (row["last_error"] for row in rows if row["last_error"] is not None)
    return last | {
        "target": target,
        "lag_seconds": max(row["lag_seconds"] for row in rows),
        "dead_letters": sum(row["dead_letters"] for row in rows),
        "held": sum(row["held"] for row in rows),
        "last_error": next(errors, None),
        "nodes": rows,
    }


async def ordered(
    link: Link, settings: Settings, lanes: Sequence[LaneName], order: Order
) -> list[dict[str, Any]]:
    """Give the order to each lane; return how they are after it.

    Raises ClickException, and resumes none, if one holds what has to be confirmed.
    """
    if order == "resume":
        await _refuse_blocked(link, lanes)
    for lane in lanes:
        store = LaneStore(link, *lane)
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
        await record_action(link, settings, lane.tenant, told, subject=str(lane))
    if order != "pause":
        await wake(settings, lanes)
    return await states(link, lanes)


async def _refuse_blocked(link: Link, lanes: Sequence[LaneName]) -> None:
    for status in (await read_statuses(link, lanes)).values():
        if status.state == "blocked":
            raise click.ClickException(f"{status.tenant}/{status.target}: {status.last_error}")


def _row(status: LaneStatus) -> dict[str, Any]:
    return lane_row(status) | {
        "held": status.held,
        "next_attempt_at": iso(status.next_attempt_ms),
        "since": iso(status.since_ms),
    }
