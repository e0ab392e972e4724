"""When a provider counts as silent against its own rhythm, and when its writes only fail."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

import pytest

from app.directory.activity import DAYS, Activity, Window, note_activity, read_activities
from app.directory.keys import Keys
from app.directory.link import Link, connect

if TYPE_CHECKING:
    from tests.conftest import RedisServer

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MONDAY = 20_605 * DAY  # 2026-06-01


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    made = connect(redis_server.url)
    yield made
    await made.close()


async def heard(link: Link, times: Iterable[int], *, done: int = 0, refused: int = 0) -> Activity:
    """Note a request at each of these times for a new tenant; return what is known then."""
    tenant = f"t{uuid.uuid4().hex[:8]}"
    for at in times:
        window = Window(at, at)
        for kind, count in ((False, done), (True, refused)):
            for _ in range(count):
                window.note(at, write=True, refused=kind)
        await note_activity(link, tenant, window)
    return (await read_activities(link, [tenant]))[tenant]


EVERY_40_MINUTES = [MONDAY + n * 40 * MINUTE for n in range(36 * 8)]
OFFICE = [
    MONDAY + day * DAY + hour * HOUR for day in range(15) if day % 7 < 5 for hour in range(8, 18)
]
ALL_THE_TIME = [MONDAY + n * 4 * MINUTE for n in range(15 * 24 * 8)]
SILENCES = {
    "cycles, one is late": (EVERY_40_MINUTES, 70 * MINUTE, False),
    "cycles that have stopped": (EVERY_40_MINUTES, 2 * HOUR, True),
    "office hours, over a weekend": (OFFICE, 2 * DAY + 14 * HOUR, False),
    "office hours, a week of nothing": (OFFICE, 7 * DAY, True),
    "all the time, a short pause": (ALL_THE_TIME, 10 * MINUTE, False),
    "all the time, and then nothing": (ALL_THE_TIME, 20 * MINUTE, True),
    "new: nobody knows its rhythm": (EVERY_40_MINUTES[:36], 5 * DAY, False),
}


@pytest.mark.parametrize(("times", "silence", "silent"), SILENCES.values(), ids=SILENCES.keys())
async def test_a_provider_is_silent_against_its_own_rhythm(
    link: Link, times: list[int], silence: int, silent: bool
) -> None:
    activity = await heard(link, times)
    seconds = activity.silent_s(times[-1] + silence)
    assert seconds == (silence / 1000 if silent else None)


async def test_an_old_outage_is_forgotten_and_the_record_stays_small(link: Link) -> None:
    after = MONDAY + 10 * DAY
    times = [MONDAY, *(after + n * HOUR for n in range(24 * (DAYS + 2)))]
    tenant = f"t{uuid.uuid4().hex[:8]}"
    for at in times:
        await note_activity(link, tenant, Window(at, at))
    activity = (await read_activities(link, [tenant]))[tenant]
    assert activity.longest_silence_ms == HOUR
    assert await link.redis.hlen(Keys(tenant).silences) == DAYS  # type: ignore[misc]


FAILURES = {
    "a few": ([MONDAY], 3, HOUR, False),
    "many at once": ([MONDAY], 20, MINUTE, False),
    "many, for long": ([MONDAY, MONDAY + 9 * MINUTE], 10, 11 * MINUTE, True),
}


@pytest.mark.parametrize(
    ("times", "refused", "later", "fails"), FAILURES.values(), ids=FAILURES.keys()
)
async def test_a_sync_fails_when_no_write_is_done_for_a_while(
    link: Link, times: list[int], refused: int, later: int, fails: bool
) -> None:
    activity = await heard(link, times, refused=refused)
    assert activity.failing_s(times[0] + later) == (later / 1000 if fails else None)


async def test_one_write_that_is_done_ends_the_failure(link: Link) -> None:
    activity = await heard(link, [MONDAY, MONDAY + HOUR], done=1, refused=30)
    assert activity.failed == 0
    assert activity.failing_s(MONDAY + 2 * HOUR) is None
