"""What `lane` does: asks lanes how they are, and tells them to stop, go on, or begin again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from app.cli.linked import wake
from app.cli.lookup import LaneName
from app.cli.output import iso
from app.config.settings import Settings
from app.directory.lanes import LaneStatus, LaneStore
from app.directory.link import Link

Order = Literal["pause", "resume", "resync"]


async def states(link: Link, lanes: Sequence[LaneName]) -> list[dict[str, Any]]:
    """Return a row for each lane, in the given order."""
    return [_row(await LaneStore(link, *lane).status()) for lane in lanes]


async def ordered(
    link: Link, settings: Settings, lanes: Sequence[LaneName], order: Order
) -> list[dict[str, Any]]:
    """Give the order to each lane; return how they are after it."""
    for lane in lanes:
        store = LaneStore(link, *lane)
        match order:
            case "pause":
                await store.pause()
            case "resume":
                await store.resume()
            case "resync":
                await store.ask(resync=True)
    if order != "pause":
        await wake(settings, lanes)
    return await states(link, lanes)


def _row(status: LaneStatus) -> dict[str, Any]:
    return {
        "tenant": status.tenant,
        "target": status.target,
        "state": status.state,
        "last_seq": status.last_seq,
        "applied_seq": status.applied_seq,
        "lag_seconds": status.lag_seconds,
        "dead_letters": status.dead_letters,
        "last_error": status.last_error,
        "next_attempt_at": iso(status.next_attempt_ms),
        "since": iso(status.since_ms),
    }
