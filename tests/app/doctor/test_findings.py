"""What `doctor` thinks of what it has read."""

from __future__ import annotations

from typing import Any

import pytest

from app.directory.layout import LAYOUT
from app.directory.tokens import TokenRecord
from app.doctor.clocks import judge_clock
from app.doctor.directory import RedisFacts, judge_layout, judge_redis
from app.doctor.finding import Status
from app.doctor.tokens import judge_tokens

DAY_S = 86400
NOW_MS = 1_800_000_000_000
HEALTHY = {
    "redis_version": "8.2.3",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "used_memory": 1 << 20,
    "maxmemory": 0,
}

CLOCKS = {
    "the same": (100.0, Status.OK),
    "a second behind, as a slow answer may be": (99.0, Status.OK),
    "five seconds ahead": (105.2, Status.WARN),
    "five seconds behind": (95.0, Status.WARN),
    "an hour behind": (-3500.0, Status.FAIL),
}


@pytest.mark.parametrize(("theirs", "status"), CLOCKS.values(), ids=CLOCKS.keys())
def test_a_clock_may_differ_by_a_little(theirs: float, status: Status) -> None:
    found = judge_clock("main", theirs, 100.0, 100.1)
    assert found.status is status
    assert bool(found.mend) is (status is not Status.OK)


REDIS: dict[str, tuple[dict[str, Any], dict[str, Any], str, Status, str]] = {
    "old": ({"redis_version": "6.2.14"}, {}, "redis", Status.FAIL, "7.0"),
    "no file": ({"aof_enabled": 0}, {}, "redis durable", Status.FAIL, "appendonly yes"),
    "synced later": (
        {},
        {"appendfsync": "everysec"},
        "redis durable",
        Status.FAIL,
        "appendfsync always",
    ),
    "settings that are hidden": (
        {},
        {"appendfsync": None},
        "redis durable",
        Status.WARN,
        "appendfsync",
    ),
    "evicting": (
        {},
        {"policy": "allkeys-lru"},
        "redis eviction",
        Status.FAIL,
        "maxmemory-policy noeviction",
    ),
    "a replica": ({"role": "slave"}, {}, "redis writes", Status.FAIL, "primary"),
    "a full disk": (
        {"aof_last_write_status": "err"},
        {},
        "redis writes",
        Status.FAIL,
        "free space",
    ),
    "little room": (
        {"used_memory": 9 << 20, "maxmemory": 10 << 20},
        {},
        "redis memory",
        Status.WARN,
        "raise maxmemory",
    ),
}


def facts(info: dict[str, Any], settings: dict[str, Any]) -> RedisFacts:
    read = {"appendfsync": "always", "policy": "noeviction"} | settings
    return RedisFacts(info=HEALTHY | info, time_s=1.0, before_s=1.0, after_s=1.0, **read)


@pytest.mark.parametrize(
    ("info", "settings", "check", "status", "mend"), REDIS.values(), ids=REDIS.keys()
)
def test_one_thing_that_is_wrong_with_redis_is_one_finding_that_mends_it(
    info: dict[str, Any], settings: dict[str, Any], check: str, status: Status, mend: str
) -> None:
    found = list(judge_redis("redis://r", facts(info, settings)))
    (wrong,) = [one for one in found if one.status is not Status.OK]
    assert (wrong.check, wrong.status) == (check, status)
    assert mend in wrong.mend


def test_a_good_redis_has_no_finding_to_mend() -> None:
    assert {one.status for one in judge_redis("redis://r", facts({}, {}))} == {Status.OK}


def token(name: str, left_s: float | None, *scopes: str) -> TokenRecord:
    return TokenRecord(
        id=name,
        secret_sha256="",
        scopes=scopes or ("scim",),
        created_ms=0,
        expires_ms=None if left_s is None else int(NOW_MS + left_s * 1000),
    )


TOKENS = {
    "none": ([], Status.FAIL, "token create acme"),
    "all have ended": ([token("a", -1)], Status.FAIL, "token create acme"),
    "only one that reads": ([token("a", None, "read")], Status.FAIL, "token create acme"),
    "one for ever": ([token("a", None)], Status.OK, ""),
    "one for long": ([token("a", 300 * DAY_S)], Status.OK, ""),
    "one that ends soon": ([token("a", 3 * DAY_S)], Status.WARN, "token rotate acme a"),
    "one that ends soon, and its successor": (
        [token("a", 3600), token("b", 300 * DAY_S)],
        Status.OK,
        "",
    ),
}


@pytest.mark.parametrize(("tokens", "status", "mend"), TOKENS.values(), ids=TOKENS.keys())
def test_a_tenant_needs_a_token_that_lasts(
    tokens: list[TokenRecord], status: Status, mend: str
) -> None:
    (found,) = judge_tokens("acme", tokens, NOW_MS)
    assert found.status is status
    assert mend in found.mend


@pytest.mark.parametrize(("ahead", "status"), [(-1, Status.WARN), (0, Status.OK), (1, Status.FAIL)])
def test_an_earlier_layout_is_brought_forward_and_a_later_one_is_not(
    ahead: int, status: Status
) -> None:
    assert judge_layout("redis://r", LAYOUT + ahead).status is status
