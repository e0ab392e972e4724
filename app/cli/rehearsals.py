"""What `plan` and `drift` do: let lanes rehearse what they would do, or do it and wait for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from app.cli.linked import wake
from app.cli.lookup import LaneName, not_reached
from app.cli.output import iso
from app.clock import Clock
from app.config.settings import Settings
from app.directory.lanes import LaneStatus, LaneStore
from app.directory.shards import Shards
from app.errors import TargetError
from app.logs import quiet
from workers.clickhouse.pool import Pool
from workers.drainer import Drainer
from workers.drift import Drift, drift_of
from workers.look import key_of
from workers.rehearsal import Rehearsed, rehearse
from workers.setup import Setup, endpoint_of

_POLL_S = 0.05

Told = Callable[[int], None]
Failures = dict[LaneName, str]


async def rehearsed(shards: Shards, settings: Settings, lane: LaneName, told: Told) -> Rehearsed:
    """Return what the lane would do now. Raises TargetError."""
    setup = Setup.of(settings, *lane)
    if setup is None:
        raise click.UsageError(f"the configuration has no lane {lane}.")
    pool = Pool(endpoint_of(settings, lane.target))
    try:
        return await rehearse(
            setup,
            shards,
            pool,
            clock=Clock(),
            told=told,
        )
    finally:
        await pool.close()


@dataclass(slots=True)
class Checked:
    """`failures`: why a lane could not be checked. `waiting`: events that a lane has yet to apply;
    what they change counts as a difference. `since`: when (ms) workers first saw a difference that
    `drift.policy` leaves, by `key_of`.
    """

    drifts: dict[LaneName, Drift] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    waiting: dict[LaneName, int] = field(default_factory=dict)
    since: dict[LaneName, dict[str, int]] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "tenant": lane.tenant,
                "target": lane.target,
                "kind": one.kind,
                "name": one.name,
                "what": one.what,
                "expected": one.expected,
                "actual": one.actual,
                "kept": one.kept,
                "since": iso(self.since[lane].get(key_of(one))),
            }
            for lane, drift in self.drifts.items()
            for one in drift.differences
        ]

    def refuses(self, row: Mapping[str, Any]) -> bool:
        """Whether what a row is about can't be had on its target."""
        drift = self.drifts.get(LaneName(row["tenant"], row["target"]))
        return drift is not None and row["name"] in drift.refused


async def checked(
    shards: Shards, settings: Settings, lanes: Iterable[LaneName], told: Told = lambda _: None
) -> Checked:
    """Compare each lane's target with the directory. A target that fails holds no other up."""
    result = Checked()
    for lane in lanes:
        store = LaneStore(shards.of(lane.tenant), *lane)
        status, result.since[lane] = await store.status(), await store.drifted()
        result.waiting[lane] = status.last_seq - status.applied_seq
        try:
            result.drifts[lane] = drift_of(await rehearsed(shards, settings, lane, told))
        except TargetError as error:
            result.failures[lane] = not_reached(f"{lane} can't be checked", error)
    return result


async def repaired(
    shards: Shards, settings: Settings, lanes: Iterable[LaneName], deadline_s: float
) -> Failures:
    """Let each lane go through everybody, here or in a worker, and wait for it.

    Return those that did not come to the end, with the reason. Lanes don't wait for one another.
    """
    lanes = list(lanes)
    for lane in lanes:
        await LaneStore(shards.of(lane.tenant), *lane).ask(resync=True)
    return await drained(shards, settings, lanes, deadline_s)


async def drained(
    shards: Shards, settings: Settings, lanes: Iterable[LaneName], deadline_s: float
) -> Failures:
    """Let each lane do what is on its list, here or in a worker, and wait for it.

    Return those that did not come to the end, with the reason. Lanes don't wait for one another.
    """
    failures: Failures = {}
    lanes = list(lanes)
    await wake(settings, lanes)
    try:
        with quiet():  # what goes wrong is told by the lanes' own state
            async with asyncio.timeout(deadline_s):
                await _drain(shards, settings, lanes, failures)
    except TimeoutError:
        for lane in lanes:
            store = LaneStore(shards.of(lane.tenant), *lane)
            if lane not in failures and not await _is_done(store):
                status = await store.status()
                why = status.last_error or f"it is {status.state} after {deadline_s:g} s"
                failures[lane] = f"{lane} is not done: {why}"
    return failures


class _Ended(Exception):
    """The lanes are done; what was begun beside them goes on in a worker."""


@contextmanager
def _until_ended() -> Iterator[None]:
    try:
        yield
    except* _Ended:
        pass


async def _drain(
    shards: Shards, settings: Settings, lanes: Iterable[LaneName], failures: Failures
) -> None:
    async def drain(drainer: Drainer, lane: LaneName) -> None:
        why = await _gone_through(drainer, lane)
        if why is not None:
            failures[lane] = f"{lane} is not done: {why}"

    rng = random.Random()  # noqa: S311 - for pauses
    with _until_ended():
        async with asyncio.TaskGroup() as tasks:
            drainer = Drainer(shards, settings, clock=Clock(), rng=rng, tasks=tasks)
            try:
                await asyncio.gather(*(drain(drainer, lane) for lane in lanes))
            finally:
                await drainer.close()
            raise _Ended


async def _gone_through(drainer: Drainer, lane: LaneName) -> str | None:
    """Return None when the lane has nothing left to do, or why it will not come to that."""
    store = LaneStore(drainer.shards.of(lane.tenant), *lane)
    while not await _is_done(store):
        why = _stands(await store.status())
        if why is not None:
            return why
        drainer.wake(*lane)
        await asyncio.sleep(_POLL_S)
    return _stands(await store.status())


async def _is_done(store: LaneStore) -> bool:
    _, position = await store.asked(1)
    return not position and (await store.status()).lag_seconds == 0


def _stands(status: LaneStatus) -> str | None:
    if status.state == "paused":
        return f"it is paused; `clickhouse-scim lane resume {status.tenant} {status.target}`"
    if status.state == "backing-off":
        return f"its target does not answer: {status.last_error}"
    if status.state == "blocked":
        return status.last_error or "it holds a change that somebody has to confirm"
    return None
