"""Reading what `/metrics` tells of lanes, tokens and tenants out of Redis, when somebody asks.

Of ten thousand tenants nearly all are as they were. So what was read is kept, and read again of
those that have something to do or are not well, and of some of the others, who take turns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from app.config.settings import Settings
from app.directory.activity import Activity, read_activities
from app.directory.events import read
from app.directory.keys import LEDGER, Keys
from app.directory.lanes import LaneStatus, read_dirty, read_drifted, read_statuses
from app.directory.link import Link
from app.directory.revocations import failed_since, waiting_since
from app.directory.tokens import TokenRecord, read_tokens
from app.metrics.state import LedgerLag, State, lag_events, worst
from app.rounds import Rounds

_TURN = 400  # tenants of whom nothing says that they changed
_AT_ONCE = 200
_OLDEST_OF = 20  # of those that are farthest behind: asked for their oldest event

T = TypeVar("T")
Lane = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tenant:
    """One tenant, as it was last read. `facts`: that the ledger has not got."""

    lanes: Sequence[LaneStatus]
    drifted: Mapping[Lane, int]
    revocations: Mapping[Lane, int]
    ledger: LaneStatus | None
    facts: int
    tokens: Sequence[TokenRecord]
    activity: Activity | None

    @property
    def is_well(self) -> bool:
        late = (one.lag_seconds or lag_events(one) or one.dead_letters for one in self.lanes)
        is_told = self.ledger is None or not (lag_events(self.ledger) or self.facts)
        return is_told and not (any(late) or self.drifted)


class Reading:
    """What one process has read so far of one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._rounds = Rounds[str]()
        self._known: dict[str, _Tenant] = {}

    async def state(self, settings: Settings, names: Sequence[str], now_ms: int) -> State:
        """Return it for these tenants, all that lie there. Raises DirectoryUnavailable."""
        there = frozenset(names)
        self._known = {name: one for name, one in self._known.items() if name in there}
        again = [name for name, one in self._known.items() if not one.is_well]
        for some in _parts(names):
            again += dict.fromkeys(tenant for tenant, _ in await read_dirty(self._link, some))
        again += [name for name in names if name not in self._known]
        for some in _parts(self._rounds.turn(names, dict.fromkeys(again), _TURN)):
            self._known |= await self._read(settings, some)
        known = [(name, self._known[name]) for name in names]
        lanes = [lane for _, one in known for lane in one.lanes]
        revocations = {lane: ms for _, one in known for lane, ms in one.revocations.items()}
        for lane, since_ms in (await self._waiting(lanes)).items():
            revocations[lane] = min(since_ms, revocations.get(lane, since_ms))
        return State(
            now_ms,
            lanes,
            {lane: count for _, one in known for lane, count in one.drifted.items()},
            revocations,
            None if settings.ledger is None else await self._ledger([one for _, one in known]),
            {name: one.tokens for name, one in known},
            {name: one.activity for name, one in known if one.activity is not None},
        )

    async def _read(self, settings: Settings, tenants: Sequence[str]) -> dict[str, _Tenant]:
        link = self._link
        targets = {tenant: settings.tenants[tenant].targets for tenant in tenants}
        names = [(tenant, target) for tenant in tenants for target in targets[tenant]]
        told = [(tenant, LEDGER) for tenant in tenants] if settings.ledger is not None else []
        statuses = await read_statuses(link, [*names, *told])
        drifted = await read_drifted(link, names)
        tokens = await read_tokens(link, tenants)
        activities = await read_activities(link, tenants)
        facts: list[int] = [0] * len(tenants)
        if settings.ledger is not None:
            pipe = link.redis.pipeline(transaction=False)
            for tenant in tenants:
                pipe.xlen(Keys(tenant).facts)
            facts = await link.call(pipe.execute())
        found = {}
        for tenant, count in zip(tenants, facts, strict=True):
            lanes = [statuses[tenant, target] for target in targets[tenant]]
            found[tenant] = _Tenant(
                lanes=lanes,
                drifted={(tenant, t): n for t in targets[tenant] if (n := drifted[tenant, t])},
                revocations=await self._failed(lanes),
                ledger=statuses.get((tenant, LEDGER)),
                facts=count,
                tokens=tokens.get(tenant, ()),
                activity=activities.get(tenant),
            )
        return found

    async def _failed(self, lanes: Iterable[LaneStatus]) -> Mapping[Lane, int]:
        """Return since when (ms) the oldest revocation is parked on each lane that has one."""
        return await self._each(lanes, failed_since)

    async def _waiting(self, lanes: Iterable[LaneStatus]) -> Mapping[Lane, int]:
        """Return since when (ms) the oldest revocation waits on each lane that is behind."""
        late = [lane for lane in lanes if lane.lag_seconds]
        return await self._each(
            worst(late, lambda one: one.lag_seconds)[:_OLDEST_OF], waiting_since
        )

    async def _each(
        self,
        lanes: Iterable[LaneStatus],
        since: Callable[[Link, LaneStatus], Awaitable[int | None]],
    ) -> Mapping[Lane, int]:
        found = {(lane.tenant, lane.target): await since(self._link, lane) for lane in lanes}
        return {lane: ms for lane, ms in found.items() if ms is not None}

    async def _ledger(self, tenants: Sequence[_Tenant]) -> LedgerLag:
        lanes = [one.ledger for one in tenants if one.ledger is not None]
        late = worst((lane for lane in lanes if lag_events(lane)), lag_events)
        oldest = [
            event.at_ms
            for lane in late[:_OLDEST_OF]
            for event in await read(self._link, Keys(lane.tenant), lane.applied_seq, 1)
        ]
        return LedgerLag(
            sum(map(lag_events, lanes)),
            sum(one.facts for one in tenants),
            min(oldest, default=None),
        )


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(whole), _AT_ONCE):
        yield whole[start : start + _AT_ONCE]
