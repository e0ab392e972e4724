"""What finds work that nobody was woken for: lost wake-ups, dead workers, drift, old failures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

import structlog

from app.directory.events import trim
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneCare, LaneStore, dirty_lanes, read_care
from app.errors import DirectoryUnavailable
from workers.drainer import Drainer

TEND_S = 5.0
TRIM_S = 2.0  # so long at most at once
REVOKE_AGAIN_S = 15.0
_AT_ONCE = 500  # tenants, or lanes, in one pipeline

T = TypeVar("T")

log = structlog.get_logger()


async def sweep(drainer: Drainer) -> None:
    """Drain every lane that is dirty and not held, every `sweep_seconds`, until cancelled."""
    while True:
        try:
            for tenants in _parts(list(drainer.settings.tenants)):
                for lane in await dirty_lanes(drainer.link, tenants):
                    drainer.wake(*lane)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        # Never in step with other workers.
        await asyncio.sleep(drainer.settings.worker.sweep_seconds * drainer.rng.uniform(0.75, 1.25))


async def tend(drainer: Drainer) -> None:
    """Ask lanes for what no event brings, until cancelled.

    A resync where the configuration is another than the one that was applied; a look for changes
    made by others where it is time for one; another try where a revocation has failed; another look
    where a statement was on its way when its sender was gone; and whoever left is seen out.
    """
    checked, revoked_at = 0, 0.0
    while True:
        generation, now = drainer.generation, drainer.clock.monotonic()
        again = now - revoked_at >= REVOKE_AGAIN_S
        try:
            for lanes in _parts(list(drainer.lanes())):
                cares = await read_care(drainer.link, lanes, drainer.clock.now_ms())
                for lane, care in cares.items():
                    await _tend(drainer, *lane, care, new=checked < generation, again=again)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        else:
            checked, revoked_at = generation, now if again else revoked_at
        await asyncio.sleep(TEND_S * drainer.rng.uniform(0.75, 1.25))


async def _tend(
    drainer: Drainer, tenant: str, target: str, care: LaneCare, *, new: bool, again: bool
) -> None:
    setup = drainer.setup(tenant, target)
    if setup is None:
        return
    store = LaneStore(drainer.link, tenant, target)
    if care.leavers:
        drainer.see_out(tenant, target)
    if care.seq < max(care.cursor, drainer.heights.get(str(store), 0)):
        drainer.wake(tenant, target)  # Redis has lost events; whoever takes the lane tells
    elif new and care.config != setup.digest:
        drainer.wake(tenant, target)  # whoever takes the lane compares, and goes through it
    elif not care.is_resyncing and _is_due(drainer, tenant, target, care):
        drainer.look(tenant, target, care)
    elif care.due:
        if await store.recall(_AT_ONCE):
            drainer.wake(tenant, target)
    elif again and care.revocations:
        await store.ask(care.revocations)
        drainer.wake(tenant, target)
    elif care.seq > care.cursor and target not in drainer.configured.targets:
        await store.ask()  # a receiver that had not heard of this server did not mark the lane
        drainer.wake(tenant, target)


async def trim_logs(drainer: Drainer) -> None:
    """Take events from the tenants' logs that nobody needs any more, until cancelled."""
    while True:
        began = drainer.clock.monotonic()
        try:
            for tenant in list(drainer.settings.tenants):
                while await _trim(drainer, tenant):
                    if drainer.clock.monotonic() - began > TRIM_S:
                        break
                    await asyncio.sleep(0)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(TEND_S * drainer.rng.uniform(0.75, 1.25))


async def _trim(drainer: Drainer, tenant: str) -> int:
    settings = drainer.settings
    return await trim(
        drainer.link,
        Keys(tenant),
        [target for name, target in drainer.lanes() if name == tenant],
        [LEDGER] if settings.ledger else [],
        since_ms=drainer.clock.now_ms() - settings.events.keep_seconds * 1000,
        most=settings.events.max_waiting,
    )


def _is_due(drainer: Drainer, tenant: str, target: str, care: LaneCare) -> bool:
    """Whether it is time to look for drift: each lane and each round with a phase of its own,
    the same for all workers.
    """
    interval_s = drainer.settings.drift.interval_seconds
    phase = random.Random(f"{tenant}/{target}/{care.resynced_ms}").uniform(0.75, 1.25)  # noqa: S311
    due_ms = care.resynced_ms + interval_s * phase * 1000
    return bool(interval_s and care.resynced_ms) and drainer.clock.now_ms() >= due_ms


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), _AT_ONCE):
        yield whole[start : start + _AT_ONCE]
