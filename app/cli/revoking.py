"""What `revoke --now` and `release` do: put somebody out of every target, and let in again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.cli.actions import record_action
from app.cli.linked import wake
from app.cli.lookup import LaneName
from app.cli.output import iso
from app.clock import Clock
from app.config.nodes import with_servers
from app.config.settings import Settings
from app.directory.holds import Hold, Holds
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.directory.servers import settings_with_servers
from app.directory.shards import connect_all
from app.directory.subjects import Subjects
from app.errors import DirectoryUnavailable, InvalidValue, TargetError
from app.scim.text import fold
from workers.access.desired import identity
from workers.access.statements import render
from workers.access.steps import Lock
from workers.clickhouse.leaving import Ended, Sought, put_out
from workers.clickhouse.nodes import Nodes
from workers.clickhouse.pool import Pool
from workers.clickhouse.servers import ask_for_servers
from workers.clickhouse.target import Target
from workers.setup import Setup, endpoint_of

_ON_ITS_WAY_S = 5.0

Result = Literal["out", "left", "unmanaged", "absent", "unreachable"]


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one user on one node of a target; `detail`: why, where it is not out."""

    tenant: str
    target: str
    node: str
    user: str
    result: Result
    detail: str
    seconds: float

    def told(self) -> dict[str, Any]:
        return {
            "tenant": self.tenant,
            "target": self.target,
            "node": self.node,
            "user": self.user,
            "result": self.result,
            "detail": self.detail,
            "seconds": self.seconds,
        }


@dataclass(slots=True)
class Known:
    """What the directory says of the user. `error`: why it says nothing.

    `subjects`: userName by resource id. `names`: on ClickHouse, by target.
    """

    subjects: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Revoked:
    """`held`: where the hold is kept: `directory`, `targets` or None."""

    rows: list[Row]
    held: str | None
    known: Known

    @property
    def is_out(self) -> bool:
        """Whether every node was reached, and nobody is left on any of them."""
        return all(row.result in {"out", "absent"} for row in self.rows)

    @property
    def is_somebody(self) -> bool:
        return bool(self.known.subjects) or any(row.result != "absent" for row in self.rows)


async def revoked(
    settings: Settings, tenant: str, user: str, *, hold: bool, within_s: float
) -> Revoked:
    """Put `user` out of every node of all the tenant's targets, whatever else is up."""
    configured, shards = settings, connect_all(settings.redis)
    link = shards.of(tenant)
    try:
        with contextlib.suppress(DirectoryUnavailable):
            settings = await settings_with_servers(shards, configured, Clock().now_ms())
        known = await _known(link, settings, tenant, user)
        held: str | None = None
        if hold:
            held = await _hold(link, settings, tenant, user, known)
        on_targets = hold and held is None

        async def put_out_of(settings: Settings) -> list[Row]:
            lanes = [LaneName(tenant, target) for target in settings.tenants[tenant].targets]
            found = await asyncio.gather(
                *(
                    _put_out(
                        settings,
                        lane,
                        _sought(settings, lane, user, known),
                        hold=on_targets,
                        within_s=within_s,
                    )
                    for lane in lanes
                    if settings.targets[lane.target].hosts
                )
            )
            return [row for rows in found for row in rows]

        # Those that nobody has found yet do not hold up the others.
        rows, found = await asyncio.gather(
            put_out_of(settings), ask_for_servers(configured, settings)
        )
        everywhere = with_servers(settings, {target: one.servers for target, one in found.items()})
        rows += await put_out_of(_beyond(everywhere, settings))
        result = Revoked(rows, "targets" if on_targets else held, known)
        if known.error is None:
            await _look_again(link, settings, tenant, known, hold=hold)
            await _record(link, settings, tenant, user, result)
    finally:
        await shards.close()
    return result


def _beyond(settings: Settings, known: Settings) -> Settings:
    """Return `settings` with those hosts of each target only that are not `known`."""
    targets = {}
    for name, target in settings.targets.items():
        before = known.targets[name].hosts if name in known.targets else ()
        hosts = tuple(host for host in target.hosts if host not in before)
        targets[name] = target.model_copy(update={"hosts": hosts})
    return settings.model_copy(update={"targets": targets})


async def _record(link: Link, settings: Settings, tenant: str, user: str, result: Revoked) -> None:
    came = {f"{row.target} {row.node}": row.result for row in result.rows}
    try:
        await record_action(
            link,
            settings,
            tenant,
            "user.revoked",
            subject=", ".join(result.known.subjects) or user,
            held=result.held,
            nodes=came,
        )
    except DirectoryUnavailable as error:
        result.known.error = str(error)


async def _known(link: Link, settings: Settings, tenant: str, user: str) -> Known:
    """Return what the directory says; a directory that is down says nothing, and is no obstacle."""
    try:
        ids, names = set[str](), dict[str, frozenset[str]]()
        for target in settings.tenants[tenant].targets:
            subjects = Subjects(link, tenant, target)
            ids |= await subjects.named([user])
            ids |= set((await subjects.holders([user])).values())
            ids |= {i for i in [user] if not await subjects.gone([i])}
        found: dict[str, str] = {}
        for target in settings.tenants[tenant].targets:
            its = await Subjects(link, tenant, target).read(sorted(ids))
            names[target] = frozenset(one.applied for one in its if one.applied is not None)
            for one in its:
                if one.document is not None:
                    found[one.id] = identity(one.kind, one.document).name
        return Known(found, names)
    except DirectoryUnavailable as error:
        return Known(error=str(error))


def _sought(settings: Settings, lane: LaneName, user: str, known: Known) -> Sought:
    setup = _setup(settings, lane)
    names = set(known.names.get(lane.target, ()))
    for user_name in known.subjects.values() or [user]:
        try:
            names.add(setup.rules.name(user_name))
        except InvalidValue:
            continue  # a name that the template can't make: perhaps it is one of ClickHouse
    return Sought(tuple(sorted(names)), () if known.subjects else (user,))


async def _hold(link: Link, settings: Settings, tenant: str, user: str, known: Known) -> str | None:
    """Keep the hold in the directory, if it answers; return where it is kept."""
    holds = Holds(link, tenant)
    try:
        whom: list[tuple[str | None, str]] = [*known.subjects.items()]
        for resource_id, user_name in whom or [(None, user)]:
            hold = Hold(
                user=user_name,
                resource_id=resource_id,
                since_ms=Clock().now_ms(),
                reason="revoke --now --hold",
            )
            await holds.put(hold, settings.tenants[tenant].targets)
    except DirectoryUnavailable as error:
        known.error = str(error)
        return None
    return "directory"


async def _put_out(
    settings: Settings, lane: LaneName, sought: Sought, *, hold: bool, within_s: float
) -> list[Row]:
    setup, clock = _setup(settings, lane), Clock()
    started = clock.monotonic()
    nodes = Nodes(endpoint_of(settings, lane.target))

    async def work(pool: Pool) -> tuple[tuple[Ended, ...], float]:
        ended = await put_out(pool, setup.marker, sought, hold=hold, within_s=within_s, clock=clock)
        return ended, round(clock.monotonic() - started, 3)

    try:
        done = await nodes.each(work)
    finally:
        await nodes.close()
    rows: list[Row] = []
    called = sought.all[0]
    for node, result in done.items():
        where = (lane.tenant, lane.target, node)
        if isinstance(result, TargetError):
            seconds = round(clock.monotonic() - started, 3)
            rows.append(Row(*where, called, "unreachable", str(result), seconds))
            continue
        ended, seconds = result
        rows += [Row(*where, one.name, one.result, _why(one), seconds) for one in ended] or [
            Row(*where, called, "absent", "", seconds)
        ]
    return rows


def _why(ended: Ended) -> str:
    if ended.result == "unmanaged":
        return "exists and is not managed; it was left alone"
    return "; ".join(ended.left)


async def _look_again(
    link: Link, settings: Settings, tenant: str, known: Known, *, hold: bool
) -> None:
    """Have lanes look at the user after the longest time that a statement of theirs may still be
    on its way; what they then want is what the directory and the holds say.
    """
    if not (hold and known.subjects):
        return
    delay_ms = round((settings.worker.statement_seconds + _ON_ITS_WAY_S) * 1000)
    targets = settings.tenants[tenant].targets
    try:
        for target in targets:
            await LaneStore(link, tenant, target).suspect(known.subjects, delay_ms)
        await wake(settings, [LaneName(tenant, target) for target in targets])
    except DirectoryUnavailable as error:
        known.error = str(error)


@dataclass(frozen=True, slots=True)
class Released:
    """`holds`: those that are over. `failures`: targets that keep a hold and did not answer."""

    holds: list[Hold]
    failures: dict[str, str]


async def released(link: Link, settings: Settings, tenant: str, user: str) -> Released:
    """Forget the holds on `user`, and let lanes bring what the directory says.

    Where targets keep a hold too, all of them have to answer first: else it would come back from
    the one that does not.
    """
    holds = Holds(link, tenant)
    known = await _known(link, settings, tenant, user)
    if known.error is not None:
        raise DirectoryUnavailable(known.error)
    targets = settings.tenants[tenant].targets
    mine = [
        hold
        for hold in (await holds.all()).holds
        if fold(hold.user) == fold(user)
        or hold.resource_id in known.subjects
        or fold(hold.user) in map(fold, known.subjects.values())
    ]
    failures: dict[str, str] = {}
    for target in targets:
        lane = LaneName(tenant, target)
        sought = _sought(settings, lane, user, known)
        for node, done in (await _unheld(settings, lane, sought)).items():
            if isinstance(done, TargetError):
                failures[f"{target} ({node})"] = str(done)
            elif done and not mine:
                mine = [Hold(user=user, resource_id=None, since_ms=0, on_targets=True)]
    if failures and any(hold.on_targets for hold in mine):
        return Released([], failures)
    for hold in mine:
        resource_id = hold.resource_id or next(iter(known.subjects), None)
        await holds.drop(_with_resource(hold, resource_id), targets)
    await wake(settings, [LaneName(tenant, target) for target in targets])
    for hold in mine:
        subject = hold.resource_id or hold.user
        await record_action(link, settings, tenant, "user.released", subject=subject)
    return Released(mine, failures if any(hold.on_targets for hold in mine) else {})


def _with_resource(hold: Hold, resource_id: str | None) -> Hold:
    return Hold(
        user=hold.user,
        resource_id=resource_id,
        since_ms=hold.since_ms,
        reason=hold.reason,
        on_targets=hold.on_targets,
    )


async def _unheld(
    settings: Settings, lane: LaneName, sought: Sought
) -> dict[str, bool | TargetError]:
    """Make an ordinary lock of each hold that a node keeps; tell where there was one."""
    setup = _setup(settings, lane)
    nodes = Nodes(endpoint_of(settings, lane.target))

    async def work(pool: Pool) -> bool:
        target = Target(pool, setup.marker, Clock())
        users = (await target.observe(sought.all, ())).users
        held = tuple(sorted(name for name, state in users.items() if state.is_held))
        for statement in render(Lock(held), setup.marker):
            await target.execute(statement, log_comment='{"clickhouse-scim":"release"}')
        return bool(held)

    try:
        return await nodes.each(work)
    finally:
        await nodes.close()


def _setup(settings: Settings, lane: LaneName) -> Setup:
    setup = Setup.of(settings, *lane)
    assert setup is not None  # noqa: S101 - the lane is of the configuration
    return setup


async def held_people(link: Link, tenant: str) -> list[dict[str, Any]]:
    """Return a row for each hold, in the order of their beginning."""
    holds = (await Holds(link, tenant).all()).holds
    return [
        {
            "tenant": tenant,
            "user": hold.user,
            "resource_id": hold.resource_id,
            "since": iso(hold.since_ms),
            "reason": hold.reason,
        }
        for hold in sorted(holds, key=lambda hold: hold.since_ms)
    ]
