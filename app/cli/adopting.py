"""What `adopt` does: which users of a target a tenant's resources would get, and saying so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from app.cli.actions import record_action
from app.cli.lookup import LaneName, not_reached
from app.cli.rehearsals import Failures, Told, drained
from app.clock import Clock
from app.config.settings import Settings
from app.directory.holds import Holds
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.directory.shards import Shards
from app.directory.subjects import Subjects
from app.errors import TargetError
from workers.access.adoption import Match, match
from workers.access.model import Adopted
from workers.clickhouse.pool import Pool
from workers.clickhouse.target import Target
from workers.people import gather
from workers.setup import Setup, endpoint_of
from workers.walk import WALK_START, Walk

_AT_ONCE = 500
_OF_THE_PAST = ("n", "m")  # stages of the walk in which nobody can be adopted

_decode = msgspec.json.Decoder(Adopted).decode


@dataclass(slots=True)
class Matched:
    """`failures`: why a lane's target can't be looked at."""

    matches: dict[LaneName, list[Match]] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        return [
            {
                "tenant": lane.tenant,
                "target": lane.target,
                "name": one.name,
                "resource_id": one.resource_id,
                "verdict": one.verdict,
                "reason": one.reason,
                "gains": list(one.gains),
                "loses": list(one.loses),
            }
            for lane, matches in self.matches.items()
            for one in matches
        ]


async def matched(
    shards: Shards, settings: Settings, lanes: Iterable[LaneName], told: Told = lambda _: None
) -> Matched:
    """Return a match for each resource whose name a user of the target has. Nothing is changed."""
    result = Matched()
    for lane in lanes:
        pool = Pool(endpoint_of(settings, lane.target))
        try:
            result.matches[lane] = await _matches(
                shards.of(lane.tenant), settings, lane, pool, told
            )
        except TargetError as error:
            result.failures[lane] = not_reached(f"{lane} can't be looked at", error)
        finally:
            await pool.close()
    return result


async def _matches(
    link: Link, settings: Settings, lane: LaneName, pool: Pool, told: Told
) -> list[Match]:
    setup = Setup.of(settings, *lane)
    assert setup is not None  # noqa: S101 - the lane is of the configuration
    store, subjects = LaneStore(link, *lane), Subjects(link, *lane)
    target = Target(pool, setup.marker, Clock())
    vocabulary = setup.rules.role_map.vocabulary | await store.vocabulary(())
    policy = replace(setup.policy(vocabulary), consents=await store.consents())
    walk, position, count = Walk(store, subjects, target), WALK_START, 0
    found: list[Match] = []
    while position[0] not in _OF_THE_PAST:
        part = await walk.step(position, _AT_ONCE, is_blank=False)
        position = part.reached
        people = await gather(
            subjects,
            setup.rules,
            part.ids,
            holds=Holds(link, lane.tenant),
            now_s=Clock().now_ms() / 1000,
        )
        names = people.names()
        wished = {role for p in people.persons.values() for role in p.want.roles}
        actual = await target.observe(names, vocabulary | wished)
        texts = await store.adopted(names)
        records = {name: _decode(text) for name, text in texts.items()}
        found += match(people.wanted(actual), actual, replace(policy, adopted=records))
        count += len(part.ids)
        told(count)
    return sorted({one.name: one for one in found}.values(), key=lambda one: one.name)


@dataclass(frozen=True, slots=True)
class Adopting:
    """Rows of `adopt apply` and `adopt undo`, with whether it is done; and what went wrong."""

    rows: list[dict[str, Any]]
    failures: list[str]

    @property
    def is_done(self) -> bool:
        return not self.failures and all(row["done"] for row in self.rows)


async def adopted(
    shards: Shards,
    settings: Settings,
    lanes: Sequence[LaneName],
    names: Sequence[str],
    *,
    within: int,
) -> Adopting:
    """Have those of `names`, or all that can be, adopted; wait for the lanes."""
    before = await matched(shards, settings, lanes)
    failures = [*before.failures.values()]
    chosen: dict[LaneName, list[Match]] = {}
    for lane, matches in before.matches.items():
        known = {one.name: one for one in matches}
        failures += (
            f"{lane}: no resource has the name of a user {name!r} there"
            for name in names
            if name not in known
        )
        chosen[lane] = [
            one for one in matches if one.name in names or (not names and one.verdict == "adopt")
        ]
        failures += (f"{lane}: {m.reason}" for m in chosen[lane] if m.verdict == "refuse")
        chosen[lane] = [one for one in chosen[lane] if one.verdict == "adopt"]
        store = LaneStore(shards.of(lane.tenant), *lane)
        await store.consent([one.name for one in chosen[lane]], "yes")
        await store.ask([one.resource_id for one in chosen[lane]])
        for one in chosen[lane]:
            await record_action(
                shards.of(lane.tenant),
                settings,
                lane.tenant,
                "user.adopted",
                subject=one.name,
                target=lane.target,
            )
    failures += (await drained(shards, settings, _busy(chosen), within)).values()
    after = await matched(shards, settings, chosen)
    verdicts = {(lane, one.name): one.verdict for lane, its in after.matches.items() for one in its}
    return Adopting(
        [
            _row(lane, one.name, done=verdicts.get((lane, one.name)) == "adopted")
            for lane, matches in chosen.items()
            for one in matches
        ],
        failures,
    )


async def given_back(
    shards: Shards,
    settings: Settings,
    lanes: Sequence[LaneName],
    names: Sequence[str],
    *,
    within: int,
) -> Adopting:
    """Have those of `names`, or all that were adopted, given back as they were; wait for it."""
    chosen: dict[LaneName, list[str]] = {}
    failures: list[str] = []
    for lane in lanes:
        store = LaneStore(shards.of(lane.tenant), *lane)
        there = await store.adopted_names()
        failures += (f"{lane}: {name!r} was not adopted" for name in names if name not in there)
        chosen[lane] = [name for name in there if not names or name in names]
        await store.consent(chosen[lane], "no")
        holders = await Subjects(shards.of(lane.tenant), *lane).holders(chosen[lane])
        await store.ask(sorted(set(holders.values())))
        for name in chosen[lane]:
            await record_action(
                shards.of(lane.tenant),
                settings,
                lane.tenant,
                "user.given_back",
                subject=name,
                target=lane.target,
            )
    failures += (await drained(shards, settings, _busy(chosen), within)).values()
    rows: list[dict[str, Any]] = []
    for lane, its in chosen.items():
        pool = Pool(endpoint_of(settings, lane.target))
        setup = Setup.of(settings, *lane)
        assert setup is not None  # noqa: S101 - the lane is of the configuration
        try:
            users = (await Target(pool, setup.marker, Clock()).observe(its, ())).users
            rows += (
                _row(lane, name, done=name not in users or not users[name].managed) for name in its
            )
        except TargetError as error:
            failures.append(not_reached(f"{lane} can't be looked at", error))
        finally:
            await pool.close()
    return Adopting(rows, failures)


def _busy(chosen: dict[LaneName, Any]) -> list[LaneName]:
    return [lane for lane, its in chosen.items() if its]


def _row(lane: LaneName, name: str, *, done: bool) -> dict[str, Any]:
    return {"tenant": lane.tenant, "target": lane.target, "name": name, "done": done}
