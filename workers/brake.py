"""Holding what would take access from too many people in one go, until an operator confirms it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from app.clock import Clock
from app.directory.lanes import STRAY, Braked, LaneStore, Letter
from workers.access.guard import NOTHING, Limit, Loss, Run, Tally, balance, judge
from workers.access.model import Actual, Wanted
from workers.access.steps import UserStep
from workers.batch import Span
from workers.clickhouse.target import Target
from workers.people import resource_behind

_SHOWN = 5  # names in a lane's reason


class HeldLoss(msgspec.Struct, frozen=True):
    """A loss as Redis keeps it. `name`: on ClickHouse."""

    name: str
    users: int
    grants: int


_encode = msgspec.json.encode
_decode_held = msgspec.json.Decoder(HeldLoss).decode
_decode_run = msgspec.json.Decoder(Run).decode


@dataclass(slots=True)
class Braking:
    """What came of one plan. `names`: on ClickHouse, of everybody whose steps wait; `held`, `spent`
    and `run` as in `Acknowledgement`. `is_decided`: it is too much, and no matter of the whole go.
    """

    names: frozenset[str] = frozenset()
    held: dict[str, str | None] = field(default_factory=dict)
    spent: Sequence[str] = ()
    run: str | None = None
    is_decided: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """The brake of one lane, for one batch.

    `spans`: the events behind each resource. `is_part`: what they change comes in several parts;
    `is_walking`: the whole directory does. What a part takes from many is held until the whole is
    known (`settle`): the first part of a mass removal is not done before the last one has told what
    it is.
    """

    store: LaneStore
    target: Target
    limit: Limit
    clock: Clock
    spans: Mapping[str, Span | None]
    is_part: bool
    is_walking: bool

    async def look(self, resource_ids: Iterable[str]) -> Braked:
        return await self.store.braked(list(resource_ids))

    async def hold(
        self,
        steps: Sequence[UserStep],
        wanted: Sequence[Wanted],
        actual: Actual,
        before: Braked,
        letters: Mapping[str, Letter],
    ) -> Braking:
        """Return whose steps have to wait. `before`: what `look` returned for all of `wanted`."""
        taken, given = balance(steps, actual.users)
        owners = _owners(wanted)
        active = {want.resource_id for want in wanted if want.active}
        lost: dict[str, Tally] = {}
        for name, tally in taken.items():
            if name in owners:
                lost[owners[name]] = lost.get(owners[name], NOTHING) + tally
        exempt = before.allowed | {i for i, letter in letters.items() if letter.revocation}
        new = {
            i: Loss(
                taken=tally,
                at_ms=self._at(i),
                single=self._is_single(i, is_active=i in active),
            )
            for i, tally in lost.items()
            if i not in exempt
        }
        run = _decode_run(before.run) if before.run else Run()
        kept = {i for i, loss in new.items() if i in before.held and not loss.single}
        undecided = {i for i, loss in new.items() if self._is_open(i, loss)}
        judged = {i: loss for i, loss in new.items() if i not in kept | undecided}
        verdict = judge(judged, _sum(given), run, None, self.limit)
        if verdict is None:
            now = await self.target.census()
            verdict = judge(judged, _sum(given), run, now, self.limit)
            assert verdict is not None  # noqa: S101 - it depends on nothing else
        held = verdict.held | kept | undecided
        names, ids = _closure(held, wanted, owners)
        after = verdict.run.after(
            {owners[n]: tally for n, tally in given.items() if n in owners and n not in names},
            max([self.clock.now_ms()] if not self.spans else [self._at(i) for i in self.spans]),
        )
        everybody = {want.resource_id for want in wanted}
        free = {i for i in everybody if resource_behind(i) not in ids}
        return Braking(
            names=frozenset(names),
            held={i: self._told(i, lost, wanted) for i in sorted(ids)}
            | {i: None for i in before.held if i in free},
            spent=sorted(free & before.allowed),
            run=None if after == run else _encode(after).decode(),
            is_decided=bool(verdict.held) or before.is_blocked,
        )

    def _at(self, resource_id: str) -> int:
        span = self.spans.get(resource_id)
        return span.at_ms if span else self.clock.now_ms()

    def _is_single(self, resource_id: str, *, is_active: bool) -> bool:
        span = self.spans.get(resource_id)
        return span is not None and (span.leaves or (span.itself and not is_active))

    def _is_open(self, resource_id: str, loss: Loss) -> bool:
        if loss.single:
            return False
        return self.is_walking if self.spans.get(resource_id) is None else self.is_part

    @staticmethod
    def _told(resource_id: str, lost: Mapping[str, Tally], wanted: Iterable[Wanted]) -> str:
        tally = lost.get(resource_id, NOTHING)
        names = (want.previous or want.name for want in wanted if want.resource_id == resource_id)
        return _encode(HeldLoss(next(names) or "", tally.users, tally.grants)).decode()


async def settle(
    store: LaneStore,
    target: Target,
    limit: Limit,
    epoch: int,
    *,
    now_ms: int,
    is_decided: bool,
) -> bool:
    """Decide about all that is held, now that everything of it is known; return whether it stays.

    What is not too much is let through. What once was too much stays until an operator confirms it,
    or until nobody would lose anything any more. Raises TargetError.
    """
    held = {i: _decode_held(raw) for i, raw in (await store.held()).items()}
    if not held:
        return False
    gone = sum((Tally(loss.users, loss.grants) for loss in held.values()), NOTHING)
    whole = await target.census()
    run = (await store.braked(())).run
    if not is_decided and not _is_too_much(gone, whole, run, limit, now_ms):
        await store.confirm()
        return False
    names = sorted(loss.name for loss in held.values())
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    await store.block(
        epoch,
        f"held: {len(held)} users would lose access in one go ({gone.users} of {whole.users}"
        f" log-ins, {gone.grants} of {whole.grants} grants): {shown}; see whether that is meant,"
        f" then `clickhouse-scim lane resume {store.tenant} {store.target} --confirm`",
    )
    return True


def _is_too_much(
    gone: Tally, whole: Tally, encoded_run: bytes | None, limit: Limit, now_ms: int
) -> bool:
    """Whether a walk may not take so much of the `whole`, after what was taken a moment ago."""
    run = _decode_run(encoded_run) if encoded_run else Run()
    if run.is_over(now_ms):
        run = Run()
    return limit.is_exceeded(gone + run.gone - run.given, whole + run.gone - run.given)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a walk would have to wait with: the users that would lose `gone` of the `whole`."""

    names: tuple[str, ...]
    gone: Tally
    whole: Tally


async def foresee(
    store: LaneStore,
    target: Target,
    limit: Limit,
    lost: Mapping[str, Tally],
    owners: Mapping[str, str],
    *,
    now_ms: int,
) -> Foreseen | None:
    """Return what the brake would hold of a walk that takes `lost`, by ClickHouse name; None for
    nothing. `owners`: the resource behind each name. Raises TargetError, DirectoryUnavailable.

    People who leave one by one are not held, and so less is, where their events still wait.
    """
    if not lost:
        return None
    ids = {name: owners.get(name, f"{STRAY}{name}") for name in lost}
    braked = await store.braked(list(ids.values()))
    letters = await store.letters(list(ids.values()))
    exempt = braked.allowed | {i for i, letter in letters.items() if letter.revocation}
    judged = {name: tally for name, tally in lost.items() if ids[name] not in exempt}
    gone, whole = _sum(judged), await target.census()
    is_kept = braked.is_blocked and any(ids[name] in braked.held for name in judged)
    if is_kept or _is_too_much(gone, whole, braked.run, limit, now_ms):
        return Foreseen(tuple(sorted(judged)), gone, whole)
    return None


def _sum(tallies: Mapping[str, Tally]) -> Tally:
    return sum(tallies.values(), NOTHING)


def _owners(wanted: Iterable[Wanted]) -> dict[str, str]:
    """Return the resource behind each name; whoever has it now goes before whoever wants it."""
    everybody = list(wanted)
    owners = {want.name: want.resource_id for want in everybody if want.name is not None}
    owners |= {want.previous: want.resource_id for want in everybody if want.previous is not None}
    return {name: resource_behind(i) for name, i in owners.items()}


def _closure(
    held: Collection[str], wanted: Iterable[Wanted], owners: Mapping[str, str]
) -> tuple[set[str], set[str]]:
    """Return the names, and the ids, of everybody who waits: also who wants a name that stays."""
    people = list(wanted)
    ids = set(held)
    names = {name for name, owner in owners.items() if owner in ids}
    for _ in people:
        more = {
            resource_behind(want.resource_id)
            for want in people
            if want.name in names or want.previous in names
        }
        if more <= ids:
            break
        ids |= more
        names |= {
            name
            for want in people
            if resource_behind(want.resource_id) in ids
            for name in (want.name, want.previous)
            if name is not None
        }
    return names, ids
