"""Any mixture of changes, faults and lost holders ends in what the directory says.

The directory and the lane are the real ones on a real Redis. The target is a script: what our steps
do to it (`simulate`), what it refuses, when it goes away, what arrives late. Time is the test's.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from app.clock import Clock
from app.config.load import check
from app.config.overrides import Applied
from app.config.rolemap import RoleMap
from app.config.settings import Settings
from app.directory.directory import Directory, Origin
from app.directory.facts import Facts
from app.directory.keys import Keys
from app.directory.lanes import LaneStore
from app.directory.link import Link, connect
from app.directory.shards import alone
from app.errors import StatementRefused, TargetUnavailable
from app.scim.members import MemberChange
from workers.access.guard import Tally
from workers.access.model import Actual, Door, RoleDefinition, RoleState
from workers.access.simulate import Impossible, simulate
from workers.access.statements import Statement
from workers.access.steps import Create, Grant
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target
from workers.lane import Lane
from workers.setup import Setup

if TYPE_CHECKING:
    from tests.conftest import RedisServer

T = TypeVar("T")

ORIGIN = Origin(request_id="r", token_id="t", digest="d")
NAMES = ("ana", "bo", "cy", "dee")
GROUPS = {"Analysts": "analyst", "Writers": "writer"}
NAME, GROUP = st.sampled_from(NAMES), st.sampled_from([*GROUPS])
_LEASE_S = 5.0


class HandClock(Clock):
    """Time that a test moves, for what a worker measures itself."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


class Script(Target):
    """A target in memory. `before`: is called with each statement before it is done."""

    def __init__(self, marker: str) -> None:
        nowhere = Pool(Endpoint(hosts=(("127.0.0.1", 1),), user="nobody"))
        super().__init__(nowhere, marker, Clock())
        self.actual = Actual({}, {role: RoleState() for role in GROUPS.values()})
        self.poisoned: set[str] = set()
        self.before: Callable[[Statement], Awaitable[None]] | None = None

    async def observe(
        self,
        names: Collection[str],
        roles: Collection[str],
        *,
        definitions: Collection[RoleDefinition] = (),
        fresh: bool = True,
        log_comment: str = "",
    ) -> Actual:
        asked = {*roles, self.marker}
        return Actual(
            {n: state for n, state in self.actual.users.items() if n in {*names, *roles}},
            {r: state for r, state in self.actual.roles.items() if r in asked},
        )

    async def managed(self, after: str, count: int) -> list[str]:
        ours = sorted(n for n, state in self.actual.users.items() if state.managed and n > after)
        return ours[:count]

    async def census(self) -> Tally:
        users = [state for state in self.actual.users.values() if state.managed]
        doors = sum(state.door is Door.OPEN for state in users)
        return Tally(doors, sum(len(state.roles) for state in users))

    async def execute(self, statement: Statement, *, log_comment: str) -> None:
        if self.before is not None:
            await self.before(statement)
        self.do(statement)

    def do(self, statement: Statement) -> None:
        if isinstance(statement.step, Create | Grant) and self.poisoned & {*statement.names}:
            raise StatementRefused("poisoned", code=497, statement=statement.sql)
        try:
            self.actual = simulate([statement.step], self.actual)
        except Impossible as error:
            raise StatementRefused(str(error), code=493, statement=statement.sql) from error


class LaneMachine(RuleBasedStateMachine):
    """People by a number that stays; names may pass from one to another."""

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = HandClock()
        self.tenant = f"m{uuid.uuid4().hex[:10]}"
        self.late: list[Statement] = []
        self.unfenced: list[Statement] = []

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize()
    def found(self) -> None:
        raw: dict[str, Any] = {
            "redis": {"url": self.url},
            "targets": {"main": {"hosts": ["127.0.0.1:1"]}},
            "worker": {"batch_events": 3, "batch_users": 2, "lease_seconds": _LEASE_S},
            "tenants": {
                self.tenant: {
                    "targets": ["main"],
                    "groups": [{"group": g, "roles": [r]} for g, r in GROUPS.items()],
                }
            },
        }
        self.settings: Settings = check(Applied(raw, {}, ()), {}, Path())
        self.setup_of_lane = Setup.of(self.settings, self.tenant, "main")
        assert self.setup_of_lane is not None
        self.script = Script(self.setup_of_lane.marker)
        self.link: Link = connect(self.url)
        self.directory = Directory(self.link, self.tenant, ["main"])
        self.store = LaneStore(self.link, self.tenant, "main")
        self.role_map = RoleMap.of(self.settings.tenants[self.tenant])
        self.wait(self._hire_three())

    async def _hire_three(self) -> None:
        """So that there is access to lose."""
        for group in GROUPS:
            await self.directory.create(
                "group",
                {"displayName": group},
                ORIGIN,
                role_keys=self.role_map.keys_for(group, None),
            )
        for name in NAMES[:3]:
            await self.directory.create("user", {"userName": name, "active": True}, ORIGIN)
            for group in GROUPS:
                await self._join(name, group, joins=True)
        await self._drain()

    async def _lane(self) -> Lane:
        assert self.setup_of_lane is not None
        return Lane(
            setup=self.setup_of_lane,
            shards=alone(self.link),
            target=self.script,
            settings=self.settings.worker,
            clock=self.clock,
            rng=random.Random(1),
            facts=Facts(self.link, None),
        )

    async def _drain(self) -> None:
        await self.link.redis.hdel(Keys(self.tenant).lane("lane", "main"), "next")  # type: ignore[misc]
        while await (await self._lane()).drain():
            pass

    async def _id(self, name: str) -> str | None:
        found = await self.directory.find("user", "userName", name)
        return found[0] if found else None

    async def _set(self, name: str, **changes: Any) -> None:
        if (user := await self._id(name)) is not None:
            stored = await self.directory.get("user", user)
            assert stored is not None
            await self.directory.update("user", stored, {**stored.document, **changes}, ORIGIN)

    @rule(name=NAME, active=st.booleans())
    def hire_or_switch(self, name: str, *, active: bool) -> None:
        async def work() -> None:
            if await self._id(name) is None:
                document = {"userName": name, "active": active}
                await self.directory.create("user", document, ORIGIN)
            else:
                await self._set(name, active=active)

        self.wait(work())

    @rule(name=NAME, other=NAME)
    def rename(self, name: str, other: str) -> None:
        async def work() -> None:
            if await self._id(other) is None:
                await self._set(name, userName=other)

        self.wait(work())

    @rule(name=NAME)
    def delete(self, name: str) -> None:
        async def work() -> None:
            if (user := await self._id(name)) is not None:
                await self.directory.delete("user", user, ORIGIN)

        self.wait(work())

    @rule(name=NAME, group=GROUP, joins=st.booleans())
    def join_or_leave(self, name: str, group: str, *, joins: bool) -> None:
        self.wait(self._join(name, group, joins=joins))

    async def _join(self, name: str, group: str, *, joins: bool) -> None:
        (team,) = await self.directory.find("group", "displayName", group)
        user, stored = await self._id(name), await self.directory.get("group", team)
        if user is not None and stored is not None:
            change = MemberChange(add=(user,)) if joins else MemberChange(remove=(user,))
            await self.directory.update("group", stored, stored.document, ORIGIN, members=change)

    @rule()
    def drain(self) -> None:
        self.wait(self._drain())

    @rule(after=st.integers(0, 5), arrives=st.booleans())
    def drain_until_an_answer_is_lost(self, after: int, *, arrives: bool) -> None:
        """The statement was done, or is still on its way."""
        sent = 0

        async def before(statement: Statement) -> None:
            nonlocal sent
            sent += 1
            if sent > after:
                if arrives:
                    self.script.do(statement)
                else:
                    self.late.append(statement)
                raise TargetUnavailable("no answer")

        self._drain_with(before)

    @rule(after=st.integers(0, 3))
    def drain_by_a_holder_that_is_away_for_longer_than_its_lease(self, after: int) -> None:
        """Meanwhile somebody else takes the lane and brings it to its end."""
        sent, is_other = 0, False

        async def before(statement: Statement) -> None:
            nonlocal sent, is_other
            if is_other:
                return
            sent += 1
            if sent > after:
                is_other = True
                await self.link.redis.delete(Keys(self.tenant).lane("lease", "main"))
                await self._drain()
                self.clock.now_s += 2 * _LEASE_S
                # What it was just about to send goes out all the same: nothing can fence that.
                self.script.before = self._nothing_more

        self._drain_with(before)

    async def _nothing_more(self, statement: Statement) -> None:
        self.unfenced.append(statement)

    def _drain_with(self, before: Callable[[Statement], Awaitable[None]]) -> None:
        self.script.before = before
        self.wait(self._drain_once())
        self.script.before = None
        assert self.unfenced == [], "sent without a lease"

    async def _drain_once(self) -> None:
        await self.link.redis.hdel(Keys(self.tenant).lane("lane", "main"), "next")  # type: ignore[misc]
        await (await self._lane()).drain()

    @rule(name=NAME)
    def poison(self, name: str) -> None:
        self.script.poisoned ^= {name}

    @rule()
    def late_statements_arrive(self) -> None:
        for statement in self.late:
            with suppress(StatementRefused):
                self.script.do(statement)
        self.late.clear()

    @rule()
    def look_for_drift(self) -> None:
        self.wait(self.store.ask(resync=True))

    async def _wanted(self) -> dict[str, frozenset[str] | None]:
        users = await self.directory.created_after("user", 0, 100)
        stored = await self.directory.get_many("user", [i for i, _ in users])
        groups = await self.directory.groups_of([*stored])
        roles = {
            (await self.directory.find("group", "displayName", group))[0]: role
            for group, role in GROUPS.items()
        }
        return {
            one.document["userName"]: frozenset(roles[g] for g in groups.get(i, ()))
            if one.document["active"]
            else None
            for i, one in stored.items()
        }

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            self.loop.close()
            return
        try:
            self.wait(self._settle())
        finally:
            self.wait(self.link.close())
            self.loop.close()

    async def _settle(self) -> None:
        """With nothing in the way any more the target is right, and every letter is gone."""
        self.late_statements_arrive()
        await self._drain()
        letters = await self.store.letters()
        poisoned = {letter.name for letter in letters.values()}
        assert poisoned <= {*NAMES}
        self.script.poisoned.clear()
        await self.store.ask(letters)
        keys = Keys(self.tenant)
        suspects = await self.link.redis.zrange(keys.lane("suspects", "main"), 0, -1)
        if suspects:  # the time for which they had to wait is over
            await self.link.redis.zadd(
                keys.lane("suspects", "main"), dict.fromkeys(suspects, 1), xx=True
            )
        await self.store.recall(100)
        await self._drain()
        seen = {
            name: None if state.door is Door.LOCKED else state.roles
            for name, state in self.script.actual.users.items()
        }
        assert seen == await self._wanted()
        assert await self.store.letters() == {}
        status = await self.store.status()
        assert (status.state, status.applied_seq) == ("idle", status.last_seq)
        before = self.script.actual
        await self.store.ask(resync=True)
        await self._drain()
        assert self.script.actual == before, "a second look changes nothing"


def test_any_mixture_of_changes_and_faults_ends_in_what_the_directory_says(
    redis_server: RedisServer,
) -> None:
    class Machine(LaneMachine):
        url = redis_server.url

    run_state_machine_as_test(Machine, settings=settings(stateful_step_count=25))
