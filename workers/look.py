"""Looking for drift unasked: what others have changed on a lane's target, mended or reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from app.clock import Clock
from app.config.settings import Settings
from app.directory.facts import Drift as DriftFact
from app.directory.facts import Facts
from app.directory.holds import Holds
from app.directory.lanes import LaneCare, LaneStore
from app.directory.shards import Shards
from app.errors import DirectoryUnavailable, StatementRefused, TargetError
from app.metrics.declared import Metrics
from workers.access.drift import Difference
from workers.clickhouse.fingerprints import Fingerprints
from workers.clickhouse.pool import Pool
from workers.drift import drift_of
from workers.rehearsal import Rehearsed, rehearse
from workers.setup import Setup

MOST = 10_000  # users or roles that differ; with so many, which ones says no more

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at one lane's target.

    First at a fingerprint of it: if that, the lane's cursor and the configuration are those of the
    look before, nothing has changed since, and what there was to do then has been done; unless
    there are dead letters, whose cause may be gone. Else the lane rehearses. Under `repair`, and
    where the target was wiped, it then goes through everybody, if there is anything to do; under
    `report` the differences are noted, with the time since when they are there.
    """

    setup: Setup
    shards: Shards
    pool: Pool
    fingerprints: Fingerprints
    settings: Settings
    clock: Clock
    metrics: Metrics = field(default_factory=Metrics)

    async def take(self, care: LaneCare) -> bool:
        """Look, unless another worker does; return whether the lane has got something to do."""
        setup = self.setup
        store = LaneStore(self.shards.of(setup.tenant), setup.tenant, setup.target)
        try:
            if not await store.claim_look(care.resynced_ms, self.clock.now_ms()):
                return False
            status = await store.status()
            seen = await self._fingerprint()
            drift = self.settings.drift.policy
            fingerprint = f"{drift}/{setup.digest}/{status.applied_seq}/{seen}"
            if fingerprint == care.fingerprint and not status.dead_letters:
                return False
            return await self._compare(store, fingerprint)
        except (TargetError, DirectoryUnavailable) as error:
            log.warning(
                "drift.not_looked_for",
                tenant=setup.tenant,
                target=setup.target,
                error=str(error)[:500],
                code=getattr(error, "code", None),
            )
            return False

    async def _fingerprint(self) -> str:
        """An account without the right to read it all is no reason not to look: one of its own."""
        try:
            return await self.fingerprints.of(self.setup.marker)
        except StatementRefused:
            return f"at {self.clock.now_ms()}"

    async def _compare(self, store: LaneStore, fingerprint: str) -> bool:
        done = await self._rehearsed()
        found = drift_of(done).differences
        for hold in done.holds:
            await Holds(self.shards.of(store.tenant), store.tenant).put(hold, self.setup.siblings)
        log.info(
            "drift.compared",
            tenant=store.tenant,
            target=store.target,
            resources=done.looked_at,
            statements=len(done.statements),
        )
        if found and not await self._is_lagging(store):
            # What the lane itself was doing meanwhile differs once, and not again.
            again = await self._rehearsed()
            found = [one for one in drift_of(again).differences if one in found]
        is_lagging = await self._is_lagging(store)
        is_wiped = done.roles.get(self.setup.marker, (True,))[0] is None
        repairs = is_wiped or self.settings.drift.policy == "repair"
        if is_lagging and not repairs:
            return False  # told apart from what waits at the next look only
        if found and not is_lagging:
            await self._tell(store, found, repaired=repairs)
        before, now_ms = await store.drifted(), self.clock.now_ms()
        left = [key_of(one) for one in found if one.kept or not repairs]
        await store.looked(fingerprint, {key: before.get(key, now_ms) for key in left})
        if repairs and (done.statements or done.faults):
            await store.ask(resync=True)
            return True
        return bool(done.holds)

    async def _rehearsed(self) -> Rehearsed:
        return await rehearse(
            self.setup,
            self.shards,
            self.pool,
            clock=self.clock,
            most=MOST,
        )

    @staticmethod
    async def _is_lagging(store: LaneStore) -> bool:
        status = await store.status()
        return status.applied_seq < status.last_seq

    async def _tell(self, store: LaneStore, found: Sequence[Difference], *, repaired: bool) -> None:
        now_ms = self.clock.now_ms()
        log.warning(
            "drift.found",
            tenant=store.tenant,
            target=store.target,
            differences=len(found),
            repairs=repaired,
        )
        self.metrics.drift.labels(store.target, str(repaired).lower()).inc(len(found))
        facts = [
            DriftFact(
                id=f"{store.target}/{one.kind}/{one.name}/{now_ms}/{one.what}",
                target=store.target,
                kind_of_drift=f"{one.kind} {one.what}",
                name=one.name,
                expected=one.expected,
                actual=one.actual,
                repaired=repaired and not one.kept,
                at_ms=now_ms,
            )
            for one in found
        ]
        await Facts(self.shards.of(store.tenant), self.settings.ledger).record(store.tenant, facts)


def key_of(difference: Difference) -> str:
    """Return what tells this difference from others of the lane: where it is, not how it is."""
    return f"{difference.kind}/{difference.what}/{difference.name}"
