"""Dead letters in the hands of operators: found, shown, sent through once more, discarded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import click

from app.cli.actions import record_action
from app.cli.linked import wake
from app.cli.lookup import LaneName, require_lane
from app.clock import Clock
from app.config.settings import Settings
from app.directory.facts import Facts
from app.directory.lanes import LaneStore, Letter
from app.directory.rows import letter_row
from app.directory.shards import Shards
from workers.witness import dead_letter

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
_ASK_AT_ONCE = 1000
_WHOLE_LIST = 1_000_000


class LetterId(NamedTuple):
    """`TENANT/TARGET/RESOURCE_ID`; the last part may hold slashes itself, as in `role:a/b`."""

    tenant: str
    target: str
    resource_id: str

    def __str__(self) -> str:
        return "/".join(self)

    @property
    def lane(self) -> LaneName:
        return LaneName(self.tenant, self.target)


class Result(StrEnum):
    """`gone`: there was no such letter, or it went or was discarded meanwhile."""

    THROUGH = "through"
    PARKED = "parked"
    UNANSWERED = "unanswered"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one letter; `why` is None where it went through."""

    id: LetterId
    result: Result
    why: str | None = None

    def row(self) -> dict[str, Any]:
        return {"id": str(self.id), "result": str(self.result), "error": self.why}


def parse_id(settings: Settings, text: str) -> LetterId:
    """Return the id of a lane that the configuration has, else raise UsageError (exit code 2)."""
    parts = text.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise click.UsageError(
            f"{text!r} is no id of a dead letter: it reads TENANT/TARGET/RESOURCE_ID, as"
            " `clickhouse-scim deadletter list` shows it.",
            click.get_current_context(silent=True),
        )
    lane = require_lane(settings, parts[0], parts[1])
    return LetterId(lane.tenant, lane.target, parts[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowed:
    """Which letters are meant: those with this error code; whose name on ClickHouse, or error,
    holds this text, in any case; of revocations only.
    """

    code: int | None = None
    text: str | None = None
    revocations: bool = False

    def has(self, letter: Letter) -> bool:
        text = (self.text or "").casefold()
        return (
            self.code in {None, letter.code}
            and (text in letter.name.casefold() or text in letter.error.casefold())
            and (letter.revocation or not self.revocations)
        )


async def found(
    shards: Shards, lanes: Iterable[LaneName], narrowed: Narrowed
) -> dict[LetterId, Letter]:
    """Return all such letters of the lanes, oldest first."""
    letters = {
        LetterId(*lane, resource_id): letter
        for lane in lanes
        for resource_id, letter in (
            await LaneStore(shards.of(lane.tenant), *lane).letters()
        ).items()
        if narrowed.has(letter)
    }
    return dict(sorted(letters.items(), key=lambda item: (item[1].first_ms, item[0])))


async def those(shards: Shards, ids: Iterable[LetterId]) -> dict[LetterId, Letter]:
    """Return the letters of these ids that there are, in the order of the ids."""
    wanted = list(dict.fromkeys(ids))
    letters: dict[LetterId, Letter] = {}
    for lane, its in _by_lane(wanted).items():
        there = await LaneStore(shards.of(lane.tenant), *lane).letters(its)
        letters |= {LetterId(*lane, one): letter for one, letter in there.items()}
    return {one: letters[one] for one in wanted if one in letters}


async def replayed(
    shards: Shards,
    settings: Settings,
    ids: Collection[LetterId],
    *,
    deadline_s: float,
    rate: int,
    done: Callable[[Outcome], None],
) -> list[Outcome]:
    """Let workers try each of these once more; return what came of it, within `deadline_s` after
    the last was asked for.

    `rate`: how many are asked for each second, of each lane: what else happens goes between them.
    `done` hears of each outcome when it is known. Lanes don't wait for one another.
    """
    for lane, its in _by_lane(ids).items():
        await record_action(
            shards.of(lane.tenant),
            settings,
            lane.tenant,
            "letters.replayed",
            subject=str(lane),
            count=len(its),
        )
    replay = _Replay(shards, settings, deadline_s, rate, done)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(replay.lane(lane, its)) for lane, its in _by_lane(ids).items()
            ]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # the first says it for all: Redis is gone
    return [outcome for task in running for outcome in task.result()]


async def discarded(
    shards: Shards, settings: Settings, letters: Mapping[LetterId, Letter], reason: str
) -> list[LetterId]:
    """Forget these letters, and tell the ledger why; return those that were there."""
    gone = []
    for one, letter in letters.items():
        if await LaneStore(shards.of(one.tenant), *one.lane).discard(one.resource_id):
            gone.append(one)
            told = dead_letter(letter, one.target, "discarded", Clock().now_ms())
            await Facts(shards.of(one.tenant), settings.ledger).record(one.tenant, [told])
            await record_action(
                shards.of(one.tenant),
                settings,
                one.tenant,
                "letter.discarded",
                subject=str(one),
                reason=reason,
            )
    return gone


def row(letter_id: LetterId, letter: Letter) -> dict[str, Any]:
    return letter_row(letter_id.tenant, letter_id.target, letter) | {
        "revocation": letter.revocation,
        "statement": letter.statement,
    }


class _Replay:
    def __init__(
        self,
        shards: Shards,
        settings: Settings,
        deadline_s: float,
        rate: int,
        done: Callable[[Outcome], None],
    ) -> None:
        self._shards, self._settings, self._done = shards, settings, done
        self._clock = Clock()
        self._deadline_s, self._rate = deadline_s, rate

    async def lane(self, lane: LaneName, ids: Sequence[str]) -> list[Outcome]:
        store = LaneStore(self._shards.of(lane.tenant), *lane)
        outcomes: list[Outcome] = []

        def tell(resource_id: str, result: Result, why: str | None = None) -> None:
            outcomes.append(Outcome(LetterId(*lane, resource_id), result, why))
            self._done(outcomes[-1])

        waiting = await store.letters(ids)
        for one in ids:
            if one not in waiting:
                tell(one, Result.GONE, "there is no such dead letter (any more)")
        if waiting and (await store.status()).state == "paused":
            why = await self._why_unanswered(store)
            for one in waiting:
                tell(one, Result.UNANSWERED, why)
            return outcomes
        unasked, asked = list(waiting), dict[str, Letter]()
        until, next_at = 0.0, 0.0
        pause_s = _FIRST_PAUSE_S
        while waiting:
            if unasked and self._clock.monotonic() >= next_at:
                part, unasked = unasked[: self._rate], unasked[self._rate :]
                await self._ask(store, lane, part)
                asked |= {one: waiting[one] for one in part}
                next_at = self._clock.monotonic() + 1.0
                until, pause_s = self._clock.monotonic() + self._deadline_s, _FIRST_PAUSE_S
            for one, letter in (await self._settled(store, asked)).items():
                del waiting[one], asked[one]
                if letter is None:
                    tell(one, Result.THROUGH)
                else:
                    tell(one, Result.PARKED, _error(letter))
            if not waiting or (not unasked and self._clock.monotonic() >= until):
                break
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        if waiting:
            why = await self._why_unanswered(store)
            for one in waiting:
                tell(one, Result.UNANSWERED, why)
        return outcomes

    async def _ask(self, store: LaneStore, lane: LaneName, ids: Sequence[str]) -> None:
        for at in range(0, len(ids), _ASK_AT_ONCE):
            await store.ask(ids[at : at + _ASK_AT_ONCE])
        await wake(self._settings, [lane])

    async def _settled(
        self, store: LaneStore, waiting: dict[str, Letter]
    ) -> dict[str, Letter | None]:
        """Return those that were tried since we asked: None = through, else the letter as it is.

        A letter may also grow by an attempt that had begun before; then it is still on the to-do
        list. What is read after it has left the list is the outcome of the attempt asked for.
        """
        now = await store.letters(waiting)
        settled: dict[str, Letter | None] = {one: None for one in waiting if one not in now}
        grown = [one for one, letter in now.items() if _is_newer(letter, waiting[one])]
        if grown:
            asked, _ = await store.asked(_WHOLE_LIST)
            tried = [one for one in grown if one not in asked]
            last = await store.letters(tried)
            settled |= {one: last.get(one) for one in tried}
        return settled

    async def _why_unanswered(self, store: LaneStore) -> str:
        status = await store.status()
        if status.state == "paused":
            return f"lane {store} is paused; `clickhouse-scim lane resume` lets it go on"
        if status.state == "backing-off":
            return f"lane {store} waits for its target: {status.last_error}"
        return (
            f"no worker tried it within {self._deadline_s:g} s; see that `clickhouse-scim worker`"
            " runs"
        )


def _is_newer(letter: Letter, than: Letter) -> bool:
    return letter.attempts > than.attempts or letter.last_ms > than.last_ms


def _error(letter: Letter) -> str:
    return letter.error if letter.code is None else f"{letter.error} (code {letter.code})"


def _by_lane(ids: Iterable[LetterId]) -> dict[LaneName, list[str]]:
    lanes: dict[LaneName, list[str]] = {}
    for one in dict.fromkeys(ids):
        lanes.setdefault(one.lane, []).append(one.resource_id)
    return lanes
