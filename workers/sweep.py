"""What finds work that nobody was woken for: lost wake-ups, dead workers, drift, old failures.

Lanes where something happened lately are looked at in every turn. Of very many others each has to
wait for its turn (`Rounds`): at ten thousand tenants some five seconds for the sweep, a minute for
what else may be due, so that a worker's cost depends on what changes and not on who is there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

import structlog

from app.directory.events import trim
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneCare, LaneStore, dirty_lanes, read_care
from app.directory.link import Link
from app.errors import DirectoryUnavailable
from app.rounds import Rounds
from workers.drainer import Drainer

TEND_S = 5.0
TRIM_S = 2.0  # so long at most at once
REVOKE_AGAIN_S = 15.0
_AT_ONCE = 500  # tenants, or lanes, in one pipeline
SWEPT_A_SECOND, TENDED, TRIMMED = 2000, 1000, 500  # tenants; lanes and tenants in one turn

T = TypeVar("T")

log = structlog.get_logger()


async def sweep(drainer: Drainer, link: Link) -> None:
    """Drain every lane there that is dirty and not held, every `sweep_seconds`, until cancelled."""
    rounds = Rounds[str]()
    while True:
        every_s = drainer.settings.worker.sweep_seconds
        most = max(1, round(SWEPT_A_SECOND * every_s))
        try:
            everybody = drainer.shards.on(link, drainer.settings.tenants)
            lively = drainer.shards.on(link, drainer.lively_tenants())
            for tenants in _parts(rounds.turn(everybody, lively, most)):
                for lane in await dirty_lanes(link, tenants):
                    drainer.wake(*lane)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        # Never in step with other workers.
        await asyncio.sleep(every_s * drainer.rng.uniform(0.75, 1.25))


async def tend(drainer: Drainer, link: Link) -> None:
    """Ask the lanes there for what no event brings, until cancelled.

    A resync where the configuration is another than the one that was applied; a look for changes
    made by others where it is time for one; another try where a revocation has failed; another look
    where a statement was on its way when its sender was gone; and whoever left is seen out.
    """
    rounds = Rounds[tuple[str, str]]()
    compared: dict[tuple[str, str], int] = {}
    revoked_at: dict[tuple[str, str], float] = {}
    while True:
        generation, now = drainer.generation, drainer.clock.monotonic()
        revoked_at = {lane: at for lane, at in revoked_at.items() if now - at < REVOKE_AGAIN_S}
        try:
            here = [lane for lane in drainer.lanes() if drainer.shards.of(lane[0]) is link]
            lively = [lane for lane in drainer.lively() if drainer.shards.of(lane[0]) is link]
            for lanes in _parts(rounds.turn(here, lively, TENDED)):
                cares = await read_care(link, lanes, drainer.clock.now_ms())
                for lane, care in cares.items():
                    new, again = compared.get(lane, 0) < generation, lane not in revoked_at
                    await _tend(drainer, *lane, care, new=new, again=again)
                    compared[lane] = generation
                    if care.revocations:
                        drainer.stir(*lane)
                        revoked_at.setdefault(lane, now)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(TEND_S * drainer.rng.uniform(0.75, 1.25))


async def _tend(
    drainer: Drainer, tenant: str, target: str, care: LaneCare, *, new: bool, again: bool
) -> None:
    setup = drainer.setup(tenant, target)
    if setup is None:
        return
    store = LaneStore(drainer.shards.of(tenant), tenant, target)
    if care.leavers:
        drainer.see_out(tenant, target)
    if care.seq < max(care.cursor, drainer.heights.get(str(store), 0)) or (
        new and care.config != setup.digest
    ):
        # Redis has lost events, or the file is another: whoever takes the lane finds out.
        await store.ask()
        drainer.wake(tenant, target)
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


async def trim_logs(drainer: Drainer, link: Link) -> None:
    """Take events from the logs there that nobody needs any more, until cancelled."""
    rounds = Rounds[str]()
    while True:
        began = drainer.clock.monotonic()
        try:
            everybody = drainer.shards.on(link, drainer.settings.tenants)
            lively = drainer.shards.on(link, drainer.lively_tenants())
            for tenant in rounds.turn(everybody, lively, TRIMMED):
                while await _trim(drainer, tenant):
                    if drainer.clock.monotonic() - began > TRIM_S:
                        break
                    await asyncio.sleep(0)
        except DirectoryUnavailable as error:
            log.warning("redis.awaited", error=str(error))
        await asyncio.sleep(TEND_S * drainer.rng.uniform(0.75, 1.25))


async def _trim(drainer: Drainer, tenant: str) -> int:
    settings = drainer.settings
    configured = settings.tenants.get(tenant)
    if configured is None:
        return 0
    return await trim(
        drainer.shards.of(tenant),
        Keys(tenant),
        configured.targets,
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
