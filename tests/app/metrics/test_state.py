"""The gauges that are read from Redis."""

from __future__ import annotations

from dataclasses import replace

from app.directory.activity import Activity
from app.directory.lanes import LaneStatus
from app.directory.tokens import TokenRecord
from app.metrics.state import WORST, State, families

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


def lane(tenant: str, target: str = "eu", **more: object) -> LaneStatus:
    idle = LaneStatus(
        tenant=tenant,
        target=target,
        state="idle",
        last_seq=10,
        applied_seq=10,
        lag_seconds=0.0,
        dead_letters=0,
        last_error=None,
        next_attempt_ms=None,
        since_ms=None,
    )
    return replace(idle, **more)  # type: ignore[arg-type]


def shown(state: State) -> dict[str, dict[str, float]]:
    """Return name -> values of labels -> value."""
    return {
        family.name: {"/".join(s.labels.values()): s.value for s in family.samples}
        for family in families(state)
    }


def test_lanes_are_counted_and_the_latest_of_a_target_is_its_lag() -> None:
    lanes = [
        lane("a"),
        lane("b", lag_seconds=7.5, applied_seq=4, state="backing-off", dead_letters=2),
        lane("b", "us", lag_seconds=1.0, applied_seq=9, state="draining"),
    ]
    state = State(
        NOW_MS,
        lanes,
        drifted={("a", "eu"): 3, ("b", "eu"): 1},
        revocations={("b", "eu"): NOW_MS - 90_000},
    )
    found = shown(state)
    assert found["scim_lanes"] == {"eu/idle": 1, "eu/backing-off": 1, "us/draining": 1}
    assert found["scim_target_lag_seconds"] == {"eu": 7.5, "us": 1.0}
    assert found["scim_lane_lag_seconds"] == {"b/eu": 7.5, "b/us": 1.0, "a/eu": 0.0}
    assert found["scim_lane_lag_events"]["b/eu"] == 6
    assert found["scim_dead_letters"] == {"eu": 2, "us": 0}
    assert found["scim_drift"] == {"eu": 4, "us": 0}
    assert found["scim_oldest_revocation_seconds"] == {"eu": 90.0, "us": 0.0}


def test_of_ten_thousand_tenants_the_worst_are_shown() -> None:
    tenants = [f"t{n:05}" for n in range(10_000)]
    state = State(
        NOW_MS,
        [lane(t, lag_seconds=float(n)) for n, t in enumerate(tenants)],
        tokens={t: [token(t, NOW_MS + n)] for n, t in enumerate(tenants)},
        activities={t: silent_for(n + 100) for n, t in enumerate(tenants)},
    )
    found = shown(state)
    for name in (
        "scim_lane_lag_seconds",
        "scim_lane_lag_events",
        "scim_token_expires_seconds",
        "scim_tenant_silent_seconds",
    ):
        assert len(found[name]) == WORST
    assert "t09999/eu" in found["scim_lane_lag_seconds"]
    assert "t00000/t00000" in found["scim_token_expires_seconds"]
    assert "t09999" in found["scim_tenant_silent_seconds"]
    assert sum(map(len, found.values())) < 5 * WORST


def token(name: str, expires_ms: int | None, *scopes: str) -> TokenRecord:
    return TokenRecord(
        id=name,
        secret_sha256="",
        scopes=scopes or ("scim",),
        created_ms=0,
        expires_ms=expires_ms,
    )


def silent_for(hours: int) -> Activity:
    last_ms = NOW_MS - hours * 3_600_000
    return Activity(
        since_ms=last_ms - 30 * DAY_MS,
        last_ms=last_ms,
        longest_silence_ms=3_600_000,
        failed=0,
        failing_ms=0,
    )


def test_a_token_is_shown_where_none_outlives_it() -> None:
    soon, late = NOW_MS + 2 * DAY_MS, NOW_MS + 300 * DAY_MS
    tokens = {
        "a": [token("old", soon), token("new", late)],
        "b": [token("only", soon)],
        "c": [token("gone", NOW_MS - 1000)],
        "d": [token("for-ever", None), token("other", soon)],
        "e": [],
        "f": [token("reads", None, "read"), token("writes", soon)],
    }
    found = shown(State(NOW_MS, tokens=tokens))["scim_token_expires_seconds"]
    assert found == {"b/only": 2 * 86400, "c/gone": -1.0, "f/writes": 2 * 86400}
