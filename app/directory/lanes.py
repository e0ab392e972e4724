"""A lane's state in Redis: cursor, lease, to-do list, dead letters. Used by workers and operators.

Everything that a worker knows about a lane lies here, so that it may be killed at any `await`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from app.directory.keys import Keys, LanePart
from app.directory.link import Link
from app.directory.record import encode

NAMES_PER_CALL = 2000
State = Literal["idle", "draining", "backing-off", "paused", "blocked"]
_GROUPS_AT_ONCE = 1000
_TENANTS_AT_ONCE = 200
RESYNC_START, RESYNC_DONE = "0.", "done"  # positions of a resync; between them the reader's own
STRAY = "stray:"  # what the id of a user begins with that no resource is behind
ROLE = "role:"  # what the id of a role begins with, where users have theirs


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that the lane could not apply; one per resource and lane, updated.

    `id`: `TENANT/TARGET/RESOURCE`. `resource_id`: the user's, or `role:NAME` of a role that the
    configuration defines. `name`: what it is called on ClickHouse. `seq_first`, `seq_last`: the
    events it missed. Times in ms since 1970. `revocation`: access that should be gone is still
    there, so it is tried again unasked. `statement`: the one that was refused, secrets masked, cut
    where it is long; "" where none was sent.
    """

    id: str
    resource_type: str
    resource_id: str
    name: str
    seq_first: int
    seq_last: int
    code: int | None
    error: str
    attempts: int
    first_ms: int
    last_ms: int
    revocation: bool = False
    statement: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A lane that is ours from now on. `config`: the digest that its users were last brought to.

    `attempts`: how often in a row the target did not answer. `is_orphan`: its last holder never
    gave it back, so a statement of that one may still be on its way. `is_undecided`: it holds
    losses of which nobody has said yet whether they are too many. `seq`: the tenant's last event.
    `is_unmarked`: the target has lost the marker role, and not everybody was looked at since.
    """

    epoch: int
    cursor: int
    config: str
    attempts: int
    is_orphan: bool
    is_undecided: bool
    seq: int
    is_unmarked: bool


@dataclass(frozen=True, slots=True)
class ResyncStep:
    """A part of going through the whole directory: the position it began at, the one it reaches."""

    begun: str
    reached: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """What one batch has brought onto the target.

    `cursor`: the last applied seq. `names`: ClickHouse name by user id, None = has none any more.
    `settled`: intended names whose fate is known. `done`: to-do entries with the number under which
    they were read. `letters`: None = resolved. `roles`: definitions that are in place, None = the
    role could not be made. `secrets`: digest of the applied password by user id, None = has none.
    `held`: losses that wait for an operator, as JSON by resource id, None = waits no more. `spent`:
    ids that need no confirmation any more. `run`: what was taken lately, as JSON; None = as it was.
    `ahead`: who lost access out of turn, with the seq under which that was read.
    `resync`: None = not part of the batch.
    """

    cursor: int
    names: Mapping[str, str | None] = field(default_factory=dict)
    settled: Sequence[str] = ()
    done: Mapping[str, int] = field(default_factory=dict)
    letters: Mapping[str, Letter | None] = field(default_factory=dict)
    roles: Mapping[str, str | None] = field(default_factory=dict)
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    held: Mapping[str, str | None] = field(default_factory=dict)
    spent: Sequence[str] = ()
    run: str | None = None
    ahead: Mapping[str, int] = field(default_factory=dict)
    resync: ResyncStep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Braked:
    """What the brake of a lane knows: `run` of what was taken lately and `held` losses of some
    resources, as JSON; of these, who is `allowed` to lose it. `count`: how many are held in all;
    `is_blocked`: somebody has to confirm them.
    """

    run: bytes | None
    held: Mapping[str, bytes]
    allowed: frozenset[str]
    count: int
    is_blocked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStatus:
    """One row of `lane list`. `lag_seconds` 0.0: nothing is waiting. `held`: how many people's loss
    waits for an operator to confirm it; the state is then `blocked`. `revocation_since_ms`: since
    when somebody has had access that should be gone; None: nobody has, or `with_revocations` was
    not asked.
    """

    tenant: str
    target: str
    state: State
    last_seq: int
    applied_seq: int
    lag_seconds: float
    dead_letters: int
    last_error: str | None
    next_attempt_ms: int | None
    since_ms: int | None
    held: int = 0
    revocation_since_ms: int | None = None


_decode_letter = msgspec.json.Decoder(Letter).decode


class LaneStore:
    """The lane of one tenant and one target."""

    def __init__(self, link: Link, tenant: str, target: str) -> None:
        self._link = link
        self._keys = Keys(tenant)
        self.tenant = tenant
        self.target = target

    def __str__(self) -> str:
        return f"{self.tenant}/{self.target}"

    def _key(self, part: LanePart) -> str:
        return self._keys.lane(part, self.target)

    async def _run(self, script: str, *args: str | bytes | int) -> Any:
        return await self._link.scripts.run(f"lane_{script}", self._keys.seq, self.target, *args)

    async def _together(self, *commands: Any) -> list[Any]:
        """Return the replies of commands that go out in one turn of the connection."""
        return await asyncio.gather(*(self._link.call(command) for command in commands))

    async def acquire(self, lease_ms: int, *, if_dirty: bool = False) -> Held | None:
        """Take the lane; None if it is held, paused, or its target is given a pause; with
        `if_dirty` also where there is nothing to do.
        """
        reply = await self._run("acquire", lease_ms, "1" if if_dirty else "0")
        if not reply:
            return None
        epoch, cursor, config, attempts, is_orphan, undecided, seq, unmarked = (
            part.decode() for part in reply
        )
        return Held(
            epoch=int(epoch),
            cursor=int(cursor),
            config=config,
            attempts=int(attempts),
            is_orphan=is_orphan == "1",
            is_undecided=undecided == "1",
            seq=int(seq),
            is_unmarked=unmarked == "1",
        )

    async def renew(self, epoch: int, lease_ms: int) -> bool:
        return bool(await self._run("renew", epoch, lease_ms))

    async def release(self, epoch: int) -> bool:
        return bool(await self._run("release", epoch))

    async def settle(self, epoch: int) -> Literal["idle", "more", "lost"]:
        answer: bytes = await self._run("settle", epoch)
        return answer.decode()  # type: ignore[return-value]

    async def report(self, epoch: int, error: str, pause_ms: int, attempts: int) -> bool:
        """Hand the lane back; nobody takes it before the pause is over."""
        return bool(await self._run("report", epoch, error, pause_ms, attempts))

    async def intend(self, epoch: int, names: Mapping[str, str], roles: Sequence[str] = ()) -> bool:
        """Note names (with their user ids) and roles that are about to be made on the target.

        False: the lease is gone, and nothing may be sent.
        """
        return bool(await self._run("intend", epoch, encode(dict(names)), encode(list(roles))))

    async def acknowledge(
        self, epoch: int, batch: Acknowledgement, facts: Sequence[str | bytes | int] = ()
    ) -> bool:
        """Move the lane forward. False: the lease is gone. `facts`: `Facts.arguments` of what the
        ledger is to hear of the batch, which is kept in the same step, and in either case.

        A batch of many names is written in parts, so that no single call blocks Redis for long. The
        cursor moves with the last part; a crash before it only does the batch again.
        """
        names = list(batch.names.items())
        while len(names) > NAMES_PER_CALL:
            part = dict(names[:NAMES_PER_CALL])
            one = Acknowledgement(cursor=0, names=part)
            if not await self._acknowledge(epoch, one, facts):
                return False
            names, facts = names[NAMES_PER_CALL:], ()
        return await self._acknowledge(epoch, replace(batch, names=dict(names)), facts)

    async def _acknowledge(
        self, epoch: int, batch: Acknowledgement, facts: Sequence[str | bytes | int]
    ) -> bool:
        letters = {
            i: msgspec.json.encode(x).decode() if x else False for i, x in batch.letters.items()
        }
        work = {
            "names": {i: False if name is None else name for i, name in batch.names.items()},
            "settled": list(batch.settled),
            "done": dict(batch.done),
            "letters": letters,
            "roles": {r: False if text is None else text for r, text in batch.roles.items()},
            "secrets": {i: False if d is None else d for i, d in batch.secrets.items()},
            "held": {i: False if loss is None else loss for i, loss in batch.held.items()},
            "spent": list(batch.spent),
            "run": batch.run or False,
            "ahead": dict(batch.ahead),
        }
        step = batch.resync or ResyncStep("", "")
        return bool(
            await self._run(
                "acknowledge", epoch, batch.cursor, step.begun, step.reached, encode(work), *facts
            )
        )

    async def ask(
        self, resource_ids: Iterable[str] = (), *, resync: bool = False, digest: str = ""
    ) -> bool:
        """Put resources, or all of them, on the to-do list. True: somebody has to be woken."""
        return bool(
            await self._run("ask", encode(list(resource_ids)), "1" if resync else "0", digest)
        )

    async def claim_look(self, since_ms: int, now_ms: int) -> bool:
        """Take the look for drift that is due since the last one at `since_ms`: one worker does."""
        return bool(await self._run("claim", since_ms, now_ms))

    async def looked(self, fingerprint: str, found: Mapping[str, int] | None = None) -> None:
        """Note what the target looked like, and since when (ms) each difference that is left is
        there; None: leave what is noted about those.
        """
        pipe = self._link.redis.pipeline(transaction=True)
        pipe.hset(self._key("lane"), "fingerprint", fingerprint)
        if found is not None:
            pipe.delete(self._key("drift"))
            if found:
                pipe.hset(self._key("drift"), mapping=dict(found))
        await self._link.call(pipe.execute())

    async def drifted(self) -> dict[str, int]:
        """Return since when (ms) each difference is there that the last look has left."""
        found = await self._link.call(self._link.redis.hgetall(self._key("drift")))  # type: ignore[arg-type]
        return {one.decode(): int(since) for one, since in found.items()}

    async def suspect(self, resource_ids: Iterable[str], delay_ms: int) -> None:
        """Have these looked at again later, when no statement about them can be on its way."""
        await self._run("suspect", encode(list(resource_ids)), delay_ms)

    async def expect(self, resource_ids: Iterable[str], at_ms: int) -> None:
        """Have these looked at when their validity ends."""
        await self._run("expect", encode(list(resource_ids)), at_ms)

    async def recall(self, count: int) -> int:
        """Put those whose time has come on the to-do list, `count` of each kind at most."""
        recalled: int = await self._run("recall", count)
        return recalled

    async def link_groups(self, keys: Sequence[str]) -> None:
        """Link the role map's keys to groups that were there before the map named them."""
        await self._run("link", encode(list(keys)), "0")

    async def linkable(self, keys: Sequence[str]) -> dict[str, str]:
        """Return the groups that `link_groups` would link to these keys now."""
        found = [part.decode() for part in await self._run("link", encode(list(keys)), "1")]
        return dict(zip(found[::2], found[1::2], strict=True))

    async def like_groups(self, reads: Callable[[str], bool]) -> None:
        """Know those groups by their names that `reads` is true of, and were there before."""
        async for ids in self._groups_called(reads):
            await self._run("like", encode(ids), "0")

    async def likable(self, reads: Callable[[str], bool]) -> dict[str, str]:
        """Return what `like_groups` would know groups as now, by their ids."""
        known: dict[str, str] = {}
        async for ids in self._groups_called(reads):
            found = [part.decode() for part in await self._run("like", encode(ids), "1")]
            known |= zip(found[::2], found[1::2], strict=True)
        return known

    async def _groups_called(self, reads: Callable[[str], bool]) -> AsyncIterator[list[str]]:
        position: int | None = None
        while position != 0:
            position, found = await self._link.call(
                self._link.redis.hscan(
                    self._keys.names("group"), position or 0, count=_GROUPS_AT_ONCE
                )
            )
            ids = [i.decode() for name, i in found.items() if reads(name.decode())]
            if ids:
                yield ids

    async def asked(self, count: int) -> tuple[dict[str, int], str]:
        """Return at most `count` resources that were asked for, oldest asking first, and where a
        resync stands, "" if none is under way.
        """
        redis = self._link.redis
        todo, resync = await self._together(
            redis.zrange(self._key("todo"), 0, count - 1, withscores=True),
            redis.hget(self._key("lane"), "resync"),
        )
        return {i.decode(): int(asked) for i, asked in todo}, (resync or b"").decode()

    async def express(self, after: int, count: int) -> dict[str, int]:
        """Return at most `count` resources that lose access by an event after `after`, with its
        seq; the newest first, so that it does not wait for many that were there before.
        """
        found = await self._link.call(
            self._link.redis.zrevrangebyscore(
                self._key("express"), "+inf", f"({after}", start=0, num=count, withscores=True
            )
        )
        return {i.decode(): int(seq) for i, seq in found}

    async def oldest_revocation(self) -> int | None:
        """Return the seq of the oldest event that takes access and is not applied; of one that
        takes it from very many people nothing is known.
        """
        found = await self._link.call(
            self._link.redis.zrange(self._key("express"), 0, 0, withscores=True)
        )
        return int(found[0][1]) if found else None

    async def scan_names(self, position: int, count: int) -> tuple[int, list[str]]:
        """Return ids that have a name on the target and the next position, 0 at the end (HSCAN)."""
        position, found = await self._link.call(
            self._link.redis.hscan(self._key("names"), position, count=count)
        )
        return position, [i.decode() for i in found]

    async def roles(self) -> dict[str, str]:
        """Return the role definitions that we applied or set out to apply, as JSON texts."""
        found = await self._link.call(self._link.redis.hgetall(self._key("roles")))  # type: ignore[arg-type]
        return {k.decode(): v.decode() for k, v in found.items()}

    async def vocabulary(self, now: Collection[str]) -> frozenset[str]:
        """Return every role that the role map gives or has ever given; `now` is added first."""
        key, redis = self._key("vocabulary"), self._link.redis
        known = frozenset(r.decode() for r in await self._link.call(redis.smembers(key)))  # type: ignore[arg-type]
        if new := frozenset(now) - known:
            await self._link.call(redis.sadd(key, *new))  # type: ignore[arg-type]
        return known | new

    async def letters(self, resource_ids: Collection[str] | None = None) -> dict[str, Letter]:
        """Return the dead letters of these resources, or all of them."""
        key = self._key("letters")
        if resource_ids is None:
            everything = await self._link.call(self._link.redis.hgetall(key))  # type: ignore[arg-type]
            return {i.decode(): _decode_letter(raw) for i, raw in everything.items()}
        ids = list(resource_ids)
        if not ids:
            return {}
        found = await self._link.call(self._link.redis.hmget(key, ids))  # type: ignore[arg-type]
        return {i: _decode_letter(raw) for i, raw in zip(ids, found, strict=True) if raw}

    async def braked(self, resource_ids: Sequence[str]) -> Braked:
        """Return what the brake knows about these resources, and about the lane."""
        ids = list(resource_ids)
        redis, held_key, allowed_key = self._link.redis, self._key("held"), self._key("allowed")
        of_ids = [redis.hmget(held_key, ids), redis.smismember(allowed_key, ids)] if ids else []
        run, count, is_blocked, *found = await self._together(
            redis.get(self._key("run")),
            redis.hlen(held_key),
            redis.hexists(self._key("lane"), "blocked"),
            *of_ids,
        )
        held, allowed = found or ((), ())
        return Braked(
            run=run,
            held={i: raw for i, raw in zip(ids, held, strict=True) if raw},
            allowed=frozenset(i for i, is_in in zip(ids, allowed, strict=True) if is_in),
            count=count,
            is_blocked=is_blocked,
        )

    async def held(self) -> dict[str, bytes]:
        """Return all losses that wait, as JSON by resource id."""
        found = await self._link.call(self._link.redis.hgetall(self._key("held")))  # type: ignore[arg-type]
        return {i.decode(): raw for i, raw in found.items()}

    async def missed(self, epoch: int, what: str) -> bool:
        """Go through the whole directory, since events are gone; `what` is told till then."""
        return bool(await self._run("missed", epoch, what, "0"))

    async def unmarked(self, epoch: int, what: str) -> bool:
        """Go through it since the marker role is gone, and know of that until it is done."""
        return bool(await self._run("missed", epoch, what, "1"))

    async def is_unmarked(self) -> bool:
        """Whether the target has lost the marker role, and not everybody was looked at since."""
        return bool(await self._link.call(self._link.redis.hexists(self._key("lane"), "unmarked")))  # type: ignore[arg-type]

    async def last_seq(self) -> int:
        """Return the tenant's last event."""
        return int(await self._link.call(self._link.redis.get(self._keys.seq)) or 0)

    async def block(self, epoch: int, reason: str) -> bool:
        """Say why the lane holds something."""
        return bool(await self._run("block", epoch, reason))

    async def confirm(self) -> int:
        """Let everything that is held through; return how much that was."""
        ids = [i.decode() for i in await self._link.call(self._link.redis.hkeys(self._key("held")))]  # type: ignore[arg-type]
        confirmed = 0
        for at in range(0, len(ids), NAMES_PER_CALL):
            part = ids[at : at + NAMES_PER_CALL]
            walk = any(i.startswith(STRAY) for i in part)
            confirmed += await self._run("confirm", encode(part), "1" if walk else "0")
        return confirmed

    async def consents(self) -> dict[str, Literal["yes", "no"]]:
        """Return of which users it was said that they are, or are not, to be adopted, by name."""
        found = await self._link.call(self._link.redis.hgetall(self._key("consents")))  # type: ignore[arg-type]
        return {name.decode(): said.decode() for name, said in found.items()}

    async def consent(self, names: Collection[str], said: Literal["yes", "no"] | None) -> None:
        """Say it of these names; None: what the configuration says holds again."""
        key, redis = self._key("consents"), self._link.redis
        if names and said is None:
            await self._link.call(redis.hdel(key, *names))  # type: ignore[arg-type]
        elif names:
            await self._link.call(redis.hset(key, mapping=dict.fromkeys(names, said)))  # type: ignore[arg-type]

    async def adopted(self, names: Collection[str]) -> dict[str, str]:
        """Return what was kept of these users by `keep_adopted`."""
        if not names:
            return {}
        ordered = list(names)
        found = await self._link.call(self._link.redis.hmget(self._key("adopted"), ordered))  # type: ignore[arg-type]
        pairs = zip(ordered, found, strict=True)
        return {name: text.decode() for name, text in pairs if text is not None}

    async def adopted_names(self) -> list[str]:
        """Return the names of all users that were adopted, in order."""
        found = await self._link.call(self._link.redis.hkeys(self._key("adopted")))  # type: ignore[arg-type]
        return sorted(name.decode() for name in found)

    async def keep_adopted(self, records: Mapping[str, str]) -> None:
        """Keep what users are before they are adopted, by name: before the first statement."""
        key = self._key("adopted")
        await self._link.call(self._link.redis.hset(key, mapping=dict(records)))  # type: ignore[arg-type]

    async def discard(self, resource_id: str) -> bool:
        gone: int = await self._link.call(self._link.redis.hdel(self._key("letters"), resource_id))  # type: ignore[arg-type]
        return gone > 0

    async def pause(self) -> None:
        """Keep workers off the lane; one that holds it stops at its next renewal."""
        pipe = self._link.redis.pipeline(transaction=True)
        pipe.hset(self._key("lane"), mapping={"paused": "1", "state": "paused"})
        pipe.delete(self._key("lease"))
        await self._link.call(pipe.execute())

    async def resume(self) -> None:
        """End a pause, whoever made it: an operator's, or the one after a failure."""
        pipe = self._link.redis.pipeline(transaction=True)
        pipe.hdel(self._key("lane"), "paused", "next", "attempts")
        pipe.hset(self._key("lane"), "state", "idle")
        await self._link.call(pipe.execute())

    async def status(self) -> LaneStatus:
        (status,) = (await read_statuses(self._link, [(self.tenant, self.target)])).values()
        return status


async def made_by(
    link: Link, target: str, tenants: Collection[str], roles: Collection[str]
) -> set[str]:
    """Return which of these roles the lane of one of these tenants to the target has applied, or
    set out to apply. Asks some tenants at a time, until every role is found.
    """
    left, asked = set(roles), list(tenants)
    for start in range(0, len(asked), _TENANTS_AT_ONCE):
        names = sorted(left)
        pipe = link.redis.pipeline(transaction=False)
        for tenant in asked[start : start + _TENANTS_AT_ONCE]:
            pipe.hmget(Keys(tenant).lane("roles", target), names)
        for texts in await link.call(pipe.execute()):
            known = zip(names, texts, strict=True)
            left -= {name for name, text in known if text is not None}
        if not left:
            break
    return set(roles) - left


async def read_statuses(
    link: Link, lanes: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], LaneStatus]:
    """Return how each (tenant, target) is, in this order."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        keys = Keys(tenant)
        pipe.hgetall(keys.lane("lane", target))
        pipe.get(keys.seq)
        pipe.hget(keys.dirty, target)
        pipe.hlen(keys.lane("letters", target))
        pipe.hlen(keys.lane("held", target))
    pipe.time()
    *found, time = await link.call(pipe.execute())
    now_ms = time[0] * 1000 + time[1] // 1000
    parts = (found[at : at + 5] for at in range(0, len(found), 5))
    return {lane: _status(lane, now_ms, *part) for lane, part in zip(lanes, parts, strict=True)}


def _status(  # noqa: PLR0917 - as Redis answers
    lane: tuple[str, str],
    now_ms: int,
    raw: Mapping[bytes, bytes],
    seq: bytes | None,
    dirty: bytes | None,
    letters: int,
    held: int,
) -> LaneStatus:
    tenant, target = lane
    fields = {k.decode(): v.decode() for k, v in raw.items()}
    state: State = fields.get("state", "idle")  # type: ignore[assignment]
    error, since = fields.get("error", fields.get("missed")), fields.get("since")
    if state in {"idle", "draining"} and "blocked" in fields:
        state, error, since = "blocked", fields["blocked"], fields.get("blocked_since")
    next_ms = fields.get("next")
    return LaneStatus(
        tenant=tenant,
        target=target,
        state=state,
        last_seq=int(seq or 0),
        applied_seq=int(fields.get("cursor", 0)),
        lag_seconds=max(0, now_ms - int(dirty)) / 1000 if dirty else 0.0,
        dead_letters=letters,
        last_error=error,
        next_attempt_ms=int(next_ms) if next_ms else None,
        since_ms=int(since) if since else None,
        held=held,
    )


async def read_dirty(link: Link, tenants: Sequence[str]) -> list[tuple[str, str]]:
    """Return (tenant, target) of the lanes that have something to do."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.hkeys(Keys(tenant).dirty)
    found = await link.call(pipe.execute()) if tenants else []
    return [
        (tenant, target.decode())
        for tenant, targets in zip(tenants, found, strict=True)
        for target in targets
    ]


async def dirty_lanes(link: Link, tenants: Sequence[str]) -> list[tuple[str, str]]:
    """Return (tenant, target) of the lanes that have something to do and are to be had: nobody
    holds them, nobody has paused them, and their next attempt is due.
    """
    dirty = await read_dirty(link, tenants)
    if not dirty:
        return []
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in dirty:
        pipe.exists(Keys(tenant).lane("lease", target))
        pipe.hmget(Keys(tenant).lane("lane", target), ["paused", "next"])
    pipe.time()
    *found, time = await link.call(pipe.execute())
    now_ms = time[0] * 1000 + time[1] // 1000
    return [
        lane
        for lane, is_held, (paused, next_ms) in zip(dirty, found[::2], found[1::2], strict=True)
        if not is_held and paused != b"1" and int(next_ms or 0) <= now_ms
    ]


async def read_drifted(link: Link, lanes: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return how many differences the last look has left on each (tenant, target)."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        pipe.hlen(Keys(tenant).lane("drift", target))
    found = await link.call(pipe.execute()) if lanes else []
    return dict(zip(lanes, found, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneCare:
    """What tells whether a lane needs more than its events.

    `resynced_ms`: when somebody last asked for a resync or looked for drift, 0 for never.
    `fingerprint`: of what the target had then. `revocations`: ids of the resources whose dead
    letter says that access is left which should be gone. `due`: how many are to be looked at again
    by now. `leavers`: how many are yet to be seen out. `cursor`: the last event that is applied,
    `seq`: that there is.
    """

    config: str
    is_resyncing: bool
    resynced_ms: int
    fingerprint: str
    revocations: tuple[str, ...]
    due: int
    leavers: int
    cursor: int
    seq: int


async def read_care(
    link: Link, lanes: Sequence[tuple[str, str]], now_ms: int
) -> dict[tuple[str, str], LaneCare]:
    """Return this of each (tenant, target)."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant, target in lanes:
        keys = Keys(tenant)
        pipe.hmget(
            keys.lane("lane", target), ["config", "resync", "resynced", "fingerprint", "cursor"]
        )
        pipe.hvals(keys.lane("letters", target))
        pipe.zcount(keys.lane("suspects", target), "-inf", now_ms)
        pipe.zcount(keys.lane("ends", target), "-inf", now_ms)
        pipe.hlen(keys.lane("leavers", target))
        pipe.get(keys.seq)
    found = await link.call(pipe.execute()) if lanes else []
    parts = (found[at : at + 6] for at in range(0, len(found), 6))
    return {
        lane: _care(fields, letters, suspects + ends, leavers, seq)
        for lane, (fields, letters, suspects, ends, leavers, seq) in zip(lanes, parts, strict=True)
    }


def _care(
    fields: Sequence[bytes | None],
    letters: Sequence[bytes],
    due: int,
    leavers: int,
    seq: bytes | None,
) -> LaneCare:
    config, resync, resynced, fingerprint, cursor = fields
    left = (letter for letter in map(_decode_letter, letters) if letter.revocation)
    return LaneCare(
        config=(config or b"").decode(),
        is_resyncing=resync is not None,
        resynced_ms=int(resynced or 0),
        fingerprint=(fingerprint or b"").decode(),
        revocations=tuple(letter.resource_id for letter in left),
        due=due,
        leavers=leavers,
        cursor=int(cursor or 0),
        seq=int(seq or 0),
    )
