"""People who leave: noted before their access is taken, and seen out of every server after it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from app.clock import Clock
from app.directory.facts import Facts, Receipt
from app.directory.holds import Holds
from app.directory.leavers import Leaver, Leavers
from app.directory.link import Link
from app.directory.subjects import Subjects
from app.errors import TargetError
from workers.access.model import Wanted
from workers.access.statements import render
from workers.access.steps import Create, KillQueries, Unlock, UserStep
from workers.batch import Span
from workers.clickhouse.leaving import look
from workers.clickhouse.nodes import Nodes
from workers.clickhouse.pool import Pool
from workers.clickhouse.target import Target
from workers.people import gather, is_stray, resource_behind
from workers.setup import Setup

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

PATIENCE_S = 30.0
_TOGETHER_S = 0.2  # a look costs a target more than a change: who leaves meanwhile shares it
_FIRST_S, _LONGEST_S = 0.02, 2.0

log = structlog.get_logger()


@dataclass(slots=True)
class Farewell:
    """Notes who leaves in one batch. `spans`, `ahead`: the events behind its resources, as in
    `Batch`. `has_leavers`: whether there is somebody to be seen out.
    """

    leavers: Leavers
    spans: Mapping[str, Span | None]
    ahead: Mapping[str, int]
    clock: Clock
    has_leavers: bool = False

    async def before(self, steps: Iterable[UserStep], wanted: Iterable[Wanted]) -> None:
        """Note whom these steps put out, and forget whom they let in. Call it before sending."""
        owners = {w.previous: w.resource_id for w in wanted if w.previous is not None}
        owners |= {w.name: w.resource_id for w in wanted if w.name is not None}
        leaving: list[Leaver] = []
        coming: list[str] = []
        for step in steps:
            if isinstance(step, KillQueries):
                leaving += (
                    self._leaver(name, resource_behind(owners[name]))
                    for name in step.names
                    if name in owners and not is_stray(owners[name])
                )
            elif isinstance(step, Unlock) or (isinstance(step, Create) and not step.locked):
                coming += step.names
        gone = {leaver.name for leaver in leaving}
        # One after the other: nearly always there is only one, which then goes out in the same turn
        # of the loop as what the caller notes beside it, and is on the disk with that.
        await self.leavers.note(leaving)
        await self.leavers.forget([name for name in coming if name not in gone])
        self.has_leavers = self.has_leavers or bool(leaving)

    def _leaver(self, name: str, resource_id: str) -> Leaver:
        span = self.spans.get(resource_id)
        return Leaver(
            name=name,
            resource_id=resource_id,
            seq=span.last if span else self.ahead.get(resource_id, 0),
            asked_ms=(span.at_ms if span else 0) or self.clock.now_ms(),
            trace=span.trace if span else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorman:
    """Looks at every server of a lane's target until nobody who left has a way in."""

    setup: Setup
    link: Link
    nodes: Nodes
    facts: Facts
    clock: Clock
    tracing: Tracing | None = None

    async def see_out(self) -> None:
        """Look again and again, for PATIENCE_S, and keep a receipt for each who is out.

        Whoever is not out then stays noted; somebody who is to have access again is forgotten.
        Raises DirectoryUnavailable.
        """
        leavers = Leavers(self.link, self.setup.tenant, self.setup.target)
        until = self.clock.monotonic() + PATIENCE_S
        pause_s = _FIRST_S
        await asyncio.sleep(_TOGETHER_S)
        while waiting := await leavers.waiting():
            left = await self._look([leaver.name for leaver in waiting])
            out = [leaver for leaver in waiting if not left[leaver.name]]
            await self._keep(out)
            await leavers.forget([leaver.name for leaver in out])
            still = [leaver for leaver in waiting if left[leaver.name]]
            if not still:
                continue
            back = await self._are_back(still)
            await leavers.forget([leaver.name for leaver in still if leaver.resource_id in back])
            if self.clock.monotonic() >= until:
                self._tell(still, left)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)

    async def _look(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return what each still has on some server, after another KILL where queries run."""

        async def work(pool: Pool) -> dict[str, tuple[str, ...]]:
            found = await look(pool, self.setup.marker, names)
            left = tuple(name for name, ways in found.items() if ways)
            target = Target(pool, self.setup.marker, self.clock)
            for statement in render(KillQueries(left), self.setup.marker):
                await target.execute(statement, log_comment='{"clickhouse-scim":"leaver"}')
            return found

        left: dict[str, list[str]] = {name: [] for name in names}
        for node, found in (await self.nodes.each(work)).items():
            for name in names:
                if isinstance(found, TargetError):
                    left[name].append(f"{node} does not answer")
                elif ways := found[name]:
                    left[name].append(f"{node}: {', '.join(ways)}")
        return {name: tuple(ways) for name, ways in left.items()}

    async def _keep(self, out: Sequence[Leaver]) -> None:
        now_ms = self.clock.now_ms()
        receipts = [
            Receipt(
                id=f"{self.setup.target}/{leaver.resource_id}/{leaver.seq}",
                target=self.setup.target,
                user=leaver.name,
                resource=leaver.resource_id,
                seq=leaver.seq,
                asked_ms=leaver.asked_ms,
                at_ms=now_ms,
                nodes=self.nodes.names,
            )
            for leaver in out
        ]
        await self.facts.record(self.setup.tenant, receipts)
        for leaver in out:
            if leaver.trace and self.tracing is not None:
                self.tracing.receipt(
                    leaver.trace,
                    self.setup.tenant,
                    self.setup.target,
                    asked_ms=leaver.asked_ms,
                    nodes=len(self.nodes.names),
                )
            log.info(
                "leaver.out",
                tenant=self.setup.tenant,
                target=self.setup.target,
                resource=leaver.resource_id,
                seq=leaver.seq,
                seconds=round(max(0, now_ms - leaver.asked_ms) / 1000, 3),
                nodes=len(self.nodes.names),
            )

    async def _are_back(self, leavers: Sequence[Leaver]) -> Collection[str]:
        """Return the resources that are to have access by now."""
        setup = self.setup
        people = await gather(
            Subjects(self.link, setup.tenant, setup.target),
            setup.rules,
            [leaver.resource_id for leaver in leavers],
            holds=Holds(self.link, setup.tenant),
            now_s=self.clock.now_ms() / 1000,
        )
        return {i for i, person in people.persons.items() if person.want.active}

    def _tell(self, still: Sequence[Leaver], left: Mapping[str, tuple[str, ...]]) -> None:
        for leaver in still:
            log.error(
                "leaver.still_in",
                tenant=self.setup.tenant,
                target=self.setup.target,
                resource=leaver.resource_id,
                seq=leaver.seq,
                ways=len(left[leaver.name]),
            )
