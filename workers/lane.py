"""Draining one lane: read, bring onto the target, acknowledge, until nothing is left.

All state lies in Redis and on the target, so this may be killed at any `await`: whoever takes the
lane next reads the same events again, observes what was done already, and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

import structlog

from app.clock import Clock
from app.config.settings import WorkerSettings
from app.directory.facts import Facts
from app.directory.holds import Holds
from app.directory.lanes import RESYNC_DONE, Acknowledgement, Held, LaneStore
from app.directory.leavers import Leavers
from app.directory.link import Link
from app.directory.purges import Purges
from app.directory.shards import Shards
from app.directory.subjects import Subjects
from app.errors import (
    DirectoryUnavailable,
    LaneStopped,
    LeaseLost,
    TargetError,
    TargetUnavailable,
)
from app.metrics.declared import NO_CODE, Metrics
from workers.batch import Batch, Pace, Work
from workers.brake import Brake, settle
from workers.clickhouse.target import Target
from workers.convergence import Convergence, Outcome
from workers.lease import Lease, never
from workers.leaving import Farewell
from workers.letters import park
from workers.setup import Setup
from workers.witness import Witness

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

SLICE_S = 2.0  # after so long a lane gives way to others that wait
_SHORTEST_S, _FIRST_S, _LONGEST_S = 0.05, 0.25, 10.0
_RELEASE_S = 1.0
_PARTS = 4  # as many times batch_users are looked at at once where one event touches more
_REQUESTS = 5  # that a statement names
_ON_ITS_WAY_S = 5.0  # beyond its own deadline, for a statement whose sender is gone

log = structlog.get_logger()


@dataclass(slots=True)
class Progress:
    """How far the holder of a lane is. `attempts`: failures in a row. `in_hand`: the users about
    whom statements may have been sent that are not acknowledged. `is_undecided`: losses are held of
    which nobody has said yet whether they are too many. `is_unmarked`: as in `Convergence`.
    `is_orphan`: statements of the holder before may be on their way, and nobody has noted yet whom
    they are about.
    """

    cursor: int
    attempts: int
    in_hand: Sequence[str] = ()
    is_undecided: bool = False
    is_unmarked: bool = False
    is_orphan: bool = False


def _few(requests: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(requests))[:_REQUESTS]


@dataclass(slots=True)
class Lane:
    """One (tenant, target), for as long as it takes to drain it once.

    `heights`: the last event that this process has seen of each lane, which Redis must not lose.
    `stops`: whether the process is about to end; then the statement under way is the last one.
    `has_leavers`: whether somebody has to be seen out afterwards.
    """

    setup: Setup
    shards: Shards
    target: Target
    settings: WorkerSettings
    clock: Clock
    rng: random.Random
    facts: Facts
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing | None = None
    heights: dict[str, int] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    stops: Callable[[], bool] = never
    has_leavers: bool = False
    link: Link = field(init=False)
    store: LaneStore = field(init=False)
    subjects: Subjects = field(init=False)

    def __post_init__(self) -> None:
        tenant, target = self.setup.tenant, self.setup.target
        self.link = self.shards.of(tenant)
        self.store = LaneStore(self.link, tenant, target)
        self.subjects = Subjects(self.link, tenant, target)

    async def drain(self) -> bool:
        """Take the lane and work until it is clean; return whether it should be taken up again.

        False also where somebody else has it, or where its target needs a pause: the sweep sees to
        it then. Raises nothing but CancelledError, after giving the lane back.
        """
        sent_at = self.clock.monotonic()
        try:
            lease_ms = round(self.settings.lease_seconds * 1000)
            held = await self.store.acquire(lease_ms, if_dirty=True)
        except DirectoryUnavailable as error:
            self._tell("lane.not_taken", error)
            return False
        if held is None:
            return False
        lease = Lease(
            self.store,
            held.epoch,
            self.settings.lease_seconds,
            sent_at=sent_at,
            clock=self.clock,
            stops=self.stops,
        )
        progress = Progress(held.cursor, held.attempts, is_undecided=held.is_undecided)
        progress.is_unmarked, progress.is_orphan = held.is_unmarked, held.is_orphan
        try:
            async with lease.kept():
                return await self._work(held, lease, progress)
        except LeaseLost as error:
            self._tell("lane.left", error)
            await self._suspect(lease, progress)
        except LaneStopped:
            # Every statement was answered: nothing is on its way.
            await self._release(held.epoch, progress)
        except (TargetError, DirectoryUnavailable) as error:
            await self._suspect(lease, progress)
            await self._back_off(held.epoch, progress, error)
        except asyncio.CancelledError:
            await self._suspect(lease, progress)
            await self._release(held.epoch, progress)
            raise
        except Exception as error:
            # A bug of ours: the lane stays visible as backing off, the others go on.
            log.exception("lane.failed", tenant=self.setup.tenant, target=self.setup.target)
            await self._suspect(lease, progress)
            await self._back_off(held.epoch, progress, error)
        return False

    async def _work(self, held: Held, lease: Lease, progress: Progress) -> bool:
        if not progress.is_orphan:
            self.target.check()  # before anything is read for a target that is away
        if held.config != self.setup.digest:
            await self.store.ask(resync=True, digest=self.setup.digest)
        seen = max(held.cursor, self.heights.get(str(self.store), 0))
        if held.seq < seen:
            progress.cursor = min(held.cursor, held.seq)
            await self._missed(
                lease, f"Redis lost acknowledged events: the last was {seen} and is {held.seq} now"
            )
        self.heights[str(self.store)] = held.seq
        role_map = self.setup.rules.role_map
        work = Work(
            self.link,
            self.store,
            self.subjects,
            self.target,
            role_map=role_map,
            max_events=self.settings.batch_events,
            max_users=self.settings.batch_users,
            pace=self.pace,
        )
        started = self.clock.monotonic()
        while True:
            batch, vocabulary = await asyncio.gather(
                work.next(progress.cursor, whole=progress.is_orphan),
                self.store.vocabulary(role_map.vocabulary),
            )
            progress.in_hand = list(batch.users)
            if progress.is_orphan:
                # A whole batch begins where the lost one began, so it has all that its events
                # touched; of those that were asked for it may have more.
                asked, _ = await self.store.asked(self.settings.batch_users)
                await self._look_again([*batch.users, *(i for i in asked if i not in batch.users)])
                progress.is_orphan = False

            if batch.missed:
                await self._missed(lease, f"{batch.missed} events are gone from the log")
            beyond = progress.cursor if batch.missed else batch.cursor

            async def overtake(
                beyond: int = beyond, vocabulary: frozenset[str] = vocabulary
            ) -> None:
                while not (ahead := await work.ahead(progress.cursor, beyond)).is_empty:
                    with self._traced(ahead):
                        await self._bring(ahead, lease, progress, vocabulary)

            if beyond < batch.last:
                await overtake()
            if not batch.is_empty:
                began = self.clock.monotonic()
                with self._traced(batch):
                    await self._bring(batch, lease, progress, vocabulary, overtake)
                self.pace.note(len(batch.users), self.clock.monotonic() - began)
            match await self.store.settle(lease.epoch):
                case "idle":
                    return False
                case "lost":
                    lease.require(False)
                case "more":
                    if self.stops():
                        raise LaneStopped(str(self.store))
                    if self.clock.monotonic() - started > SLICE_S:
                        await self.store.release(lease.epoch)
                        return True
                case other:
                    assert_never(other)

    def _traced(self, batch: Batch) -> AbstractContextManager[None]:
        """Return what is open while the batch is under way."""
        if self.tracing is None:
            return contextlib.nullcontext()
        tenant, target = self.setup.tenant, self.setup.target
        return self.tracing.batch(tenant, target, batch.traces, is_ahead=bool(batch.ahead))

    async def _bring(
        self,
        batch: Batch,
        lease: Lease,
        progress: Progress,
        vocabulary: frozenset[str],
        between: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Bring a batch onto the target, in parts if it is large, and acknowledge it. `between`
        is done between two parts.
        """
        started = self.clock.monotonic()
        users, size = list(batch.users), _PARTS * self.settings.batch_users
        parts = [users[at : at + size] for at in range(0, len(users), size)] or [[]]
        witness = Witness(
            self.facts,
            self.setup.tenant,
            self.setup.target,
            lease.epoch,
            spans=batch.users,
            requests=_few(batch.requests),
            cursor=batch.cursor,
            clock=self.clock,
        )
        farewell = Farewell(
            Leavers(self.link, self.setup.tenant, self.setup.target),
            spans=batch.users,
            ahead=batch.ahead,
            clock=self.clock,
        )
        convergence = Convergence(
            setup=self.setup,
            shards=self.shards,
            store=self.store,
            subjects=self.subjects,
            holds=Holds(self.link, self.setup.tenant),
            purges=Purges(self.link, self.setup.tenant, self.setup.target),
            target=self.target,
            lease=lease,
            vocabulary=vocabulary,
            clock=self.clock,
            log_comment=self._comment(batch, lease),
            brake=Brake(
                store=self.store,
                target=self.target,
                limit=self.setup.limit,
                clock=self.clock,
                spans=batch.users,
                is_part=len(parts) > 1,
                is_walking=batch.resync is not None,
            ),
            witness=witness,
            farewell=farewell,
            only_takes=bool(batch.ahead),
            is_new=not progress.cursor,
            is_unmarked=progress.is_unmarked,
        )
        steps, letters, retry, strays = 0, 0, batch.roles, batch.strays
        is_decided = False
        groups = batch.groups
        if strays:
            self.metrics.strays.labels(self.setup.target).inc(len(strays))
            log.warning(
                "users.strayed",
                tenant=self.setup.tenant,
                target=self.setup.target,
                users=len(strays),
            )
        for number, part in enumerate(parts, start=1):
            if number > 1 and between is not None:
                await between()
            progress.in_hand = users
            async with contextlib.AsyncExitStack() as failing:
                failing.push_async_callback(witness.flush)  # what was sent is told all the same
                outcome = await convergence.run(part, retry, strays, groups)
                done = self._acknowledgement(batch, outcome)
                witness.parked(done.letters, outcome.letters)
                failing.pop_all()
            if number < len(parts):
                done = replace(done, cursor=0, done={}, resync=None)
            facts = await witness.last_words()
            lease.require(await self.store.acknowledge(lease.epoch, done, facts))
            self.has_leavers = self.has_leavers or farewell.has_leavers
            retry, strays, groups = frozenset(), [], []
            steps, letters = steps + outcome.steps, letters + len(outcome.faults)
            await self._look_at_the_end(outcome.ends)
            if outcome.braking.held:
                progress.is_undecided = True
                is_decided = is_decided or outcome.braking.is_decided
            if outcome.wiped and progress.cursor:
                self.metrics.wiped.labels(self.setup.target).inc()
                log.warning("target.wiped", tenant=self.setup.tenant, target=self.setup.target)
                progress.is_unmarked = True
                convergence = replace(convergence, is_unmarked=True)
        progress.cursor, progress.attempts, progress.in_hand = batch.cursor, 0, ()
        is_walking = batch.resync is not None and batch.resync.reached != RESYNC_DONE
        if batch.resync is not None and not is_walking:
            progress.is_unmarked = False
        if progress.is_undecided and (is_decided or not is_walking):
            await self._settle_losses(lease, is_decided=is_decided)
            progress.is_undecided = False
        duration_s = self.clock.monotonic() - started
        self.metrics.batch_seconds.labels(self.setup.target).observe(duration_s)
        log.info(
            "lane.drained",
            tenant=self.setup.tenant,
            target=self.setup.target,
            epoch=lease.epoch,
            seq=batch.cursor,
            requests=_few(batch.requests),
            users=len(batch.users),
            steps=steps,
            letters=letters,
            resync=batch.resync.reached if batch.resync else None,
            ahead=len(batch.ahead),
            duration_s=round(duration_s, 4),
        )

    async def _missed(self, lease: Lease, what: str) -> None:
        """Go through the whole directory, which is what counts, and say why."""
        log.error("events.missed", tenant=self.setup.tenant, target=self.setup.target, what=what)
        text = f"{what}; the lane goes through the whole directory"
        lease.require(await self.store.missed(lease.epoch, text))

    async def _settle_losses(self, lease: Lease, *, is_decided: bool) -> None:
        stays = await settle(
            self.store,
            self.target,
            self.setup.limit,
            lease.epoch,
            now_ms=self.clock.now_ms(),
            is_decided=is_decided,
        )
        if stays:
            log.error("lane.blocked", tenant=self.setup.tenant, target=self.setup.target)

    def _acknowledgement(self, batch: Batch, outcome: Outcome) -> Acknowledgement:
        now_ms = self.clock.now_ms()
        over = (outcome.letters.keys() & outcome.tried) - outcome.faults.keys()
        parked = {
            i: park(
                str(self.store),
                fault,
                batch.users.get(i),
                outcome.letters.get(i),
                cursor=batch.cursor,
                now_ms=now_ms,
            )
            for i, fault in outcome.faults.items()
        }
        for i, letter in parked.items():
            self.metrics.parked.labels(self.setup.target, letter.code or NO_CODE).inc()
            log.error(
                "resource.parked",
                tenant=self.setup.tenant,
                target=self.setup.target,
                letter=letter.id,
                step=outcome.faults[i].step,
                code=letter.code,
                attempts=letter.attempts,
                revocation=letter.revocation,
            )
        return Acknowledgement(
            cursor=batch.cursor,
            names=outcome.names,
            settled=outcome.settled,
            done=batch.done,
            letters={**dict.fromkeys(over), **parked},
            roles=outcome.roles,
            secrets={i: digest or None for i, digest in outcome.secrets.items()},
            held=outcome.braking.held,
            spent=outcome.braking.spent,
            ahead=batch.ahead,
            run=outcome.braking.run,
            resync=batch.resync,
        )

    def _comment(self, batch: Batch, lease: Lease) -> str:
        """Return what `system.query_log` shows beside each statement: the events behind it."""
        seqs = [seq for span in batch.users.values() if span for seq in (span.first, span.last)]
        told = {
            "clickhouse-scim": str(self.store),
            "epoch": lease.epoch,
            "seq": [min(seqs), max(seqs)] if seqs else [],
            "requests": _few(batch.requests),
        }
        return json.dumps(told, separators=(",", ":"))

    async def _back_off(self, epoch: int, progress: Progress, error: Exception) -> None:
        """Let the target be for a while: exponential, with full jitter; if it was not even asked,
        until it is asked again.
        """
        if progress.is_orphan:
            return  # the lease just runs out, and whoever is next finds the same holder lost
        wait_s = error.wait_s if isinstance(error, TargetUnavailable) else None
        attempts = progress.attempts + (wait_s is None)
        most = min(_LONGEST_S, _FIRST_S * 2 ** min(attempts, 16))
        pause_s = self.rng.uniform(_SHORTEST_S, most if wait_s is None else _FIRST_S)
        pause_s += wait_s or 0.0
        self._tell("lane.backing_off", error, attempts=attempts, pause_s=round(pause_s, 2))
        code = getattr(error, "code", None) or NO_CODE
        self.metrics.retries.labels(self.setup.target, code).inc()
        text = f"{type(error).__name__}: {error}"[:1000]
        with contextlib.suppress(DirectoryUnavailable):
            await self.store.report(epoch, text, round(pause_s * 1000), attempts)

    async def _suspect(self, lease: Lease, progress: Progress) -> None:
        """Have the users in hand looked at again, if anything was sent about them."""
        if lease.is_used and progress.in_hand:
            with contextlib.suppress(DirectoryUnavailable, TimeoutError):
                async with asyncio.timeout(_RELEASE_S):
                    await self._look_again(progress.in_hand)

    async def _look_again(self, users: Sequence[str]) -> None:
        if users:
            longest_s = self.settings.statement_seconds + _ON_ITS_WAY_S
            await self.store.suspect(users, round(longest_s * 1000))

    async def _look_at_the_end(self, ends: Mapping[str, int]) -> None:
        """Have whoever is valid until some time looked at then: ClickHouse bars the log-in itself,
        the lane takes the roles.
        """
        at: dict[int, list[str]] = {}
        for user, end in ends.items():
            at.setdefault(end, []).append(user)
        for end, users in at.items():
            await self.store.expect(users, end * 1000)

    async def _release(self, epoch: int, progress: Progress) -> None:
        """Give the lane back while this process ends; if that fails, the lease just runs out."""
        if progress.is_orphan:
            return
        with contextlib.suppress(DirectoryUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                await self.store.release(epoch)

    def _tell(self, event: str, error: Exception, **more: object) -> None:
        log.warning(
            event,
            tenant=self.setup.tenant,
            target=self.setup.target,
            error=str(error)[:500],
            code=getattr(error, "code", None),
            **more,
        )
