"""What Redis knows of lanes, tokens and tenants (`reading.py`), as gauges; pure.

Series of single lanes, tokens and tenants are those of the WORST of them, so that ten thousand
tenants are as easy on Prometheus as ten: what is well has no series of its own, or need not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from app.directory.activity import Activity
from app.directory.lanes import LaneStatus
from app.directory.tokens import TokenRecord

WORST = 200
SOON_S = 30 * 86400

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LedgerLag:
    """What the ledger has not got yet, over all tenants: events, other facts, and since when (ms)
    the oldest of the events is there, None for none.
    """

    events: int
    facts: int
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class State:
    """`drifted`: how many differences were left on a lane. `revocations`: since when (ms) somebody
    has had access there that should be gone. Lanes as keys are (tenant, target).
    """

    now_ms: int
    lanes: Sequence[LaneStatus] = ()
    drifted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    revocations: Mapping[tuple[str, str], int] = field(default_factory=dict)
    ledger: LedgerLag | None = None
    tokens: Mapping[str, Sequence[TokenRecord]] = field(default_factory=dict)
    activities: Mapping[str, Activity] = field(default_factory=dict)


def merged(states: Sequence[State]) -> State:
    """Return the state of all tenants, out of those of some each; pure."""
    ledgers = [one.ledger for one in states if one.ledger is not None]
    since = [one.since_ms for one in ledgers if one.since_ms is not None]
    return State(
        max(one.now_ms for one in states),
        [lane for one in states for lane in one.lanes],
        {k: v for one in states for k, v in one.drifted.items()},
        {k: v for one in states for k, v in one.revocations.items()},
        LedgerLag(
            sum(one.events for one in ledgers),
            sum(one.facts for one in ledgers),
            min(since, default=None),
        )
        if ledgers
        else None,
        {k: v for one in states for k, v in one.tokens.items()},
        {k: v for one in states for k, v in one.activities.items()},
    )


def families(state: State) -> Iterator[Metric]:
    """Yield the gauges of `state`; pure."""
    yield from _of_lanes(state)
    yield from _of_ledger(state)
    yield from _of_tokens(state)
    yield from _of_tenants(state)


def _of_lanes(state: State) -> Iterator[Metric]:
    counts = Counter((lane.target, lane.state) for lane in state.lanes)
    yield _gauge("scim_lanes", "Lanes, by their state.", ("target", "state"), counts.items())
    by_target: dict[str, list[LaneStatus]] = {}
    for lane in state.lanes:
        by_target.setdefault(lane.target, []).append(lane)
    yield _gauge(
        "scim_target_lag_seconds",
        "How long the change that waits longest for a target has been waiting.",
        ("target",),
        (((name,), max(x.lag_seconds for x in lanes)) for name, lanes in by_target.items()),
    )
    yield _gauge(
        "scim_dead_letters",
        "Resources that a target refused and that wait for somebody.",
        ("target",),
        (((name,), sum(x.dead_letters for x in lanes)) for name, lanes in by_target.items()),
    )
    left = Counter(dict.fromkeys(by_target, 0))
    for (_, target), count in state.drifted.items():
        left[target] += count
    yield _gauge(
        "scim_drift",
        "Differences that others have made on a target, as the last look left them.",
        ("target",),
        (((name,), count) for name, count in left.items()),
    )
    waiting = {
        name: max((_revocation_s(state, lane) for lane in lanes), default=0.0)
        for name, lanes in by_target.items()
    }
    yield _gauge(
        "scim_oldest_revocation_seconds",
        "For how long somebody has had access on a target that should be gone; 0 is nobody.",
        ("target",),
        (((name,), seconds) for name, seconds in waiting.items()),
    )
    late = worst(state.lanes, lambda lane: (lane.lag_seconds, lag_events(lane)))
    names = ("tenant", "target")
    yield _gauge(
        "scim_lane_lag_seconds",
        f"How long a lane's oldest change has been waiting; of the {WORST} worst lanes.",
        names,
        (((lane.tenant, lane.target), lane.lag_seconds) for lane in late),
    )
    yield _gauge(
        "scim_lane_lag_events",
        f"Events that a lane has not applied; of the {WORST} worst lanes.",
        names,
        (((lane.tenant, lane.target), lag_events(lane)) for lane in late),
    )


def lag_events(lane: LaneStatus) -> int:
    return max(0, lane.last_seq - lane.applied_seq)


def _revocation_s(state: State, lane: LaneStatus) -> float:
    since_ms = state.revocations.get((lane.tenant, lane.target))
    return 0.0 if since_ms is None else max(0.0, (state.now_ms - since_ms) / 1000)


def _of_ledger(state: State) -> Iterator[Metric]:
    lag = state.ledger or LedgerLag(0, 0, None)
    seconds = 0.0 if lag.since_ms is None else max(0.0, (state.now_ms - lag.since_ms) / 1000)
    for name, meaning, value in (
        ("scim_ledger_lag_seconds", "For how long the oldest event has waited for it.", seconds),
        ("scim_ledger_lag_events", "Events that the ledger has not got yet.", lag.events),
        ("scim_ledger_waiting_facts", "Other facts that it has not got yet.", lag.facts),
    ):
        yield _gauge(name, meaning, (), [((), value)])


def _of_tokens(state: State) -> Iterator[Metric]:
    ending = [
        ((tenant, last.id), left_s)
        for tenant, tokens in state.tokens.items()
        if (last := _last(tokens)) is not None
        and last.expires_ms is not None
        and (left_s := (last.expires_ms - state.now_ms) / 1000) < SOON_S
    ]
    yield _gauge(
        "scim_token_expires_seconds",
        "Until a tenant's last token ends, where that is within 30 days; negative: it has ended.",
        ("tenant", "token"),
        sorted(ending, key=lambda one: one[1])[:WORST],
    )
    yield _gauge(
        "scim_token_rotation_seconds",
        "Since a token's successor was made: which was never used, or since when it was not.",
        ("tenant", "token", "state"),
        worst(_rotations(state), lambda one: one[1]),
    )


def _rotations(state: State) -> Iterator[tuple[tuple[str, str, str], float]]:
    """Yield what is left of rotations: tokens that have a successor, and what nobody did since."""
    for tenant, tokens in state.tokens.items():
        by_id = {token.id: token for token in tokens}
        for old in tokens:
            new = by_id.get(old.replaced_by)
            if new is None or (old.expires_ms is not None and old.expires_ms <= state.now_ms):
                continue
            since_s = (state.now_ms - new.created_ms) / 1000
            if new.last_used_ms is None:
                yield (tenant, old.id, "unswitched"), since_s
            elif (old.last_used_ms or 0) < new.created_ms:
                yield (tenant, old.id, "leftover"), since_s


def _last(tokens: Iterable[TokenRecord]) -> TokenRecord | None:
    """Return the token of a tenant's provider that lasts longest, None if there was never one."""
    usable = (token for token in tokens if "scim" in token.scopes)
    return max(
        usable, key=lambda t: float("inf") if t.expires_ms is None else t.expires_ms, default=None
    )


def _of_tenants(state: State) -> Iterator[Metric]:
    silent = (
        ((tenant,), seconds)
        for tenant, activity in state.activities.items()
        if (seconds := activity.silent_s(state.now_ms)) is not None
    )
    yield _gauge(
        "scim_tenant_silent_seconds",
        "For how long a provider has been silent, where that is far longer than it ever was.",
        ("tenant",),
        worst(silent, lambda one: one[1]),
    )
    failing = (
        ((tenant,), seconds)
        for tenant, activity in state.activities.items()
        if (seconds := activity.failing_s(state.now_ms)) is not None
    )
    yield _gauge(
        "scim_tenant_failing_seconds",
        "For how long every write of a provider has been refused.",
        ("tenant",),
        worst(failing, lambda one: one[1]),
    )


def _gauge(
    name: str,
    meaning: str,
    labels: Sequence[str],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for given, value in values:
        family.add_metric(given, value)
    return family


def worst(all_of_them: Iterable[T], badness: Callable[[T], object]) -> list[T]:
    return sorted(all_of_them, key=badness, reverse=True)[:WORST]  # type: ignore[arg-type]
