"""What a lane promises: the target is what the directory says, whatever happens on the way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from app.directory.keys import Keys
from app.errors import DirectoryUnavailable, StatementRefused, TargetUnavailable
from workers.access.statements import Statement, quote_identifier
from workers.batch import Pace

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A, W = "employee", "analyst", "writer"


class TestAccessFollowsTheDirectory:
    async def test_a_new_user_gets_the_default_roles(self, world: World) -> None:
        await world.user("ana")
        await world.drain()
        assert await world.held() == {"ana": {E}}
        await world.nothing_is_left()

    async def test_groups_give_their_roles_and_take_them(self, world: World) -> None:
        ana, bo = await world.user("ana"), await world.user("bo")
        analysts = await world.group("Analysts", ana, bo)
        writers = await world.group("Writers", ana)
        await world.group("Others", bo)
        await world.drain()
        assert await world.held() == {"ana": {E, A, W}, "bo": {E, A}}
        await world.members(analysts, remove=(ana, bo))
        await world.drain()
        assert await world.held() == {"ana": {E, A, W}, "bo": {E}}
        await world.members(writers, replace=(bo,))
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": {E, A, W}}
        await world.delete_group(writers)
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": {E}}

    async def test_somebody_inactive_is_locked_and_comes_back_with_all_roles(
        self, world: World
    ) -> None:
        ana = await world.user("ana")
        await world.group("Analysts", ana)
        await world.drain()
        await world.set_user(ana, active=False)
        await world.drain()
        assert await world.held() == {"ana": None}
        await world.set_user(ana, active=True)
        await world.drain()
        assert await world.held() == {"ana": {E, A}}

    async def test_somebody_who_starts_inactive_starts_locked(self, world: World) -> None:
        """So the target does not depend on whether a batch saw her active once."""
        ana = await world.user("ana", active=False)
        await world.group("Analysts", ana)
        await world.drain()
        assert await world.held() == {"ana": None}
        await world.nothing_is_left()
        await world.set_user(ana, active=True)
        await world.drain()
        assert await world.held() == {"ana": {E, A}}

    async def test_somebody_inactive_does_not_get_a_leavers_user(self, world: World) -> None:
        world.configure(on_delete="lock")
        await world.delete(await self._drained(world, "ana"))
        await world.drain()
        entity = await world.entity("ana")
        newcomer = await world.user("ana", active=False)
        await world.drain()
        assert await world.held() == {"ana": None}
        assert await world.entity("ana") != entity
        await world.set_user(newcomer, active=True)
        await world.drain()
        assert await world.held() == {"ana": {E}}

    async def _drained(self, world: World, user_name: str) -> str:
        user = await world.user(user_name)
        await world.drain()
        return user

    async def test_a_rename_keeps_the_entity(self, world: World) -> None:
        ana = await world.user("ana")
        await world.drain()
        entity = await world.entity("ana")
        await world.set_user(ana, userName="Ana")
        await world.drain()
        assert await world.held() == {"Ana": {E}}
        assert await world.entity("Ana") == entity
        await world.nothing_is_left()

    async def test_a_deleted_user_is_dropped(self, world: World) -> None:
        ana = await world.user("ana")
        await world.drain()
        await world.delete(ana)
        await world.drain()
        assert await world.held() == {}
        await world.nothing_is_left()

    async def test_a_deleted_user_stays_locked_where_the_tenant_wants_that(
        self, world: World
    ) -> None:
        world.configure(on_delete="lock")
        ana = await world.user("ana")
        await world.drain()
        await world.delete(ana)
        await world.drain()
        assert await world.held() == {"ana": None}
        entity = await world.entity("ana")
        await world.user("ana")
        await world.drain()
        assert await world.held() == {"ana": {E}}
        assert await world.entity("ana") != entity, "the newcomer must not get the leaver's user"
        await world.nothing_is_left()

    async def test_somebody_who_came_and_went_unseen_leaves_nothing(self, world: World) -> None:
        await world.delete(await world.user("ana"))
        await world.drain()
        assert await world.held() == {}

    async def test_a_group_keeps_its_roles_through_a_rename(self, world: World) -> None:
        ana = await world.user("ana")
        group = await world.group("Analysts", ana)
        await world.drain()
        await world.rename_group(group, "Guild")
        await world.drain()
        assert await world.held() == {"ana": {E, A}}

    async def test_a_group_that_gets_a_mapped_name_gives_its_members_the_roles(
        self, world: World
    ) -> None:
        ana = await world.user("ana")
        group = await world.group("Guild", ana)
        await world.drain()
        await world.rename_group(group, "analysts")
        await world.drain()
        assert await world.held() == {"ana": {E, A}}

    async def test_a_member_who_arrives_after_the_group_gets_its_roles(self, world: World) -> None:
        group = await world.group("Analysts")
        ana = await world.user("ana")
        await world.members(group, add=(ana, "nobody-yet"))
        await world.drain()
        assert await world.held() == {"ana": {E, A}}

    async def test_a_group_in_a_group_gives_its_members_the_roles_of_both(
        self, world: World
    ) -> None:
        ana, bo = await world.user("ana"), await world.user("bo")
        inner = await world.group("Inner", ana)
        middle = await world.group("Middle", inner, bo)
        outer = await world.group("Analysts", middle)
        await world.drain()
        assert await world.held() == {"ana": {E, A}, "bo": {E, A}}
        await world.members(middle, remove=(inner,))
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": {E, A}}
        await world.members(middle, add=(inner,))
        await world.drain()
        assert await world.held() == {"ana": {E, A}, "bo": {E, A}}
        await world.delete_group(middle)
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": {E}}
        await world.members(outer, replace=(inner,))
        await world.rename_group(inner, "Writers")
        await world.drain()
        assert await world.held() == {"ana": {E, A, W}, "bo": {E}}

    async def test_groups_in_a_circle_are_no_trouble(self, world: World) -> None:
        ana = await world.user("ana")
        one = await world.group("Analysts", ana)
        two = await world.group("Writers", one)
        keys = Keys(world.tenant)  # by hand: the directory refuses it, an older one did not
        await world.link.redis.zadd(keys.members(one), {two: 1})
        await world.link.redis.sadd(keys.member_of(two), one)  # type: ignore[misc]
        await world.drain()
        assert await world.held() == {"ana": {E, A, W}}


class TestAgents:
    async def test_an_agent_is_a_user_like_a_person(self, world: World) -> None:
        robot, ana = await world.agent("robot-1"), await world.user("ana")
        await world.group("Analysts", robot, ana)
        await world.drain()
        assert await world.held() == {"robot-1": {E, A}, "ana": {E, A}}
        await world.set_agent(robot, active=False)
        await world.drain()
        assert await world.held() == {"robot-1": None, "ana": {E, A}}
        await world.set_agent(robot, active=True, name="robot-2")
        await world.drain()
        assert await world.held() == {"robot-2": {E, A}, "ana": {E, A}}
        await world.delete_agent(robot)
        await world.drain()
        assert await world.held() == {"ana": {E, A}}
        await world.nothing_is_left()

    async def test_an_agent_and_a_person_never_share_a_user(self, world: World) -> None:
        await world.user("ana")
        await world.drain()
        robot = await world.agent("ana")
        await world.drain()
        assert await world.held() == {"ana": {E}}
        assert (await world.letters())[robot].code == 493

    async def test_a_resync_goes_through_agents_too(self, world: World) -> None:
        await world.agent("robot")
        await world.drain()
        await world.sql(f"DROP USER {quote_identifier(world.name('robot'))}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"robot": {E}}

    async def test_whose_validity_ends_is_locked_by_itself(self, world: World) -> None:
        ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        robot = await world.agent("robot", until=ends)
        await world.group("Analysts", robot)
        await world.drain()
        held = await world.held()
        assert held == {"robot": {E, A}} or datetime.now(UTC) >= ends  # on a slow machine

        async def locked() -> bool:
            if await world.store.recall(10):
                await world.drain()
            return await world.held() == {"robot": None}

        await world.until(locked)
        assert datetime.now(UTC) >= ends


class TestPasswords:
    async def test_a_pushed_password_lets_in_and_a_new_one_replaces_it(self, world: World) -> None:
        world.configure(authentication={"method": "password"})
        ana = await world.user("ana")
        await world.drain()
        assert not await world.lets_in("ana", "first")
        await world.set_password(ana, "first")
        await world.drain()
        assert await world.lets_in("ana", "first")
        await world.set_password(ana, "second")
        await world.drain()
        assert not await world.lets_in("ana", "first")
        assert await world.lets_in("ana", "second")
        await world.store.ask(resync=True)
        assert not any(batch["steps"] for batch in await world.drain())
        await world.set_user(ana, active=False)
        await world.drain()
        assert not await world.lets_in("ana", "second")
        await world.set_user(ana, active=True)
        await world.drain()
        assert await world.lets_in("ana", "second")


class TestNames:
    async def test_a_name_that_passes_to_somebody_else_gets_a_new_user(self, world: World) -> None:
        """An open session of the former holder would go on with the newcomer's roles."""
        ana = await world.user("ana")
        await world.drain()
        entity = await world.entity("ana")
        await world.set_user(ana, userName="ana.b")
        await world.user("ana")
        await world.drain()
        assert await world.held() == {"ana": {E}, "ana.b": {E}}
        assert await world.entity("ana") != entity
        assert await world.letters() == {}
        await world.nothing_is_left()

    async def test_a_swap_of_names_gives_nobody_the_other_ones_user(self, world: World) -> None:
        a, b = await world.user("a"), await world.user("b")
        await world.group("Analysts", a)
        await world.drain()
        before = {await world.entity("a"), await world.entity("b")}
        await world.set_user(a, userName="tmp")
        await world.set_user(b, userName="a")
        await world.set_user(a, userName="b")
        await world.drain()
        assert await world.held() == {"a": {E}, "b": {E, A}}
        assert not before & {await world.entity("a"), await world.entity("b")}
        assert await world.letters() == {}
        await world.nothing_is_left()

    async def test_a_name_whose_holder_is_parked_is_not_taken_over_with_its_sessions(
        self, world: World
    ) -> None:
        """Ana's rename is a dead letter, so her user still has the old name when Bo gets it."""
        ana = await world.user("ana")
        await world.drain()
        entity = await world.entity("ana")
        await world.sql(f"CREATE USER {quote_identifier(world.name('ana.b'))}")
        await world.set_user(ana, userName="ana.b")
        await world.drain()
        assert await world.entity("ana") == entity
        await world.user("ana")
        await world.drain()
        assert await world.entity("ana") != entity
        assert (await world.held())["ana"] == {E}
        assert set(await world.letters()) == {ana}

    @pytest.mark.parametrize(
        "user_name",
        [
            "o'hara",
            "`; DROP USER default; --",
            'a"b\\c',
            "zoë.brûlé",
            "名前",
            "%(x)s {y} $1",
            "a\tb",
        ],
    )
    async def test_a_name_arrives_literally(self, world: World, user_name: str) -> None:
        ana = await world.user(user_name)
        await world.drain()
        assert await world.held() == {user_name: {E}}
        await world.set_user(ana, active=False)
        await world.drain()
        assert await world.held() == {user_name: None}
        await world.delete(ana)
        await world.drain()
        assert await world.held() == {}


class TestIdempotence:
    async def test_a_second_look_changes_nothing(self, world: World) -> None:
        ana = await world.user("ana")
        await world.group("Writers", ana)
        await world.user("bo", active=False)
        await world.drain()
        await world.store.ask(resync=True)
        batches = await world.drain()
        assert [batch["steps"] for batch in batches] == [0] * len(batches)
        assert batches[-1]["resync"] == "done"

    async def test_an_event_that_was_applied_already_changes_nothing(self, world: World) -> None:
        """As after a crash between the last statement and the acknowledgement."""
        await world.user("ana")
        await world.drain()
        key = f"scim:{{{world.tenant}}}:"
        await world.link.redis.hset(f"{key}lane:main", "cursor", "0")  # type: ignore[misc]
        await world.link.redis.hset(f"{key}dirty", "main", "1")  # type: ignore[misc]
        (batch,) = await world.drain()
        assert (batch["users"], batch["steps"]) == (1, 0)

    @pytest.mark.parametrize("survived", range(9))
    async def test_a_crash_after_any_statement_is_mended(self, world: World, survived: int) -> None:
        """And whoever was deleted meanwhile is gone, though nothing was ever acknowledged."""
        await world.drain()  # roles are there
        ana, bo = await world.user("ana"), await world.user("bo")
        await world.drain()
        cy, dee = await world.user("cy"), await world.user("dee")
        await world.group("Analysts", ana, cy)
        await world.set_user(bo, userName="bob")
        await world.set_user(ana, active=False)
        await world.lane(world.unavailable_after(survived)).drain()
        await world.delete(cy)
        await world.set_user(dee, userName="dorothy")
        await world.set_user(bo, userName="robert")
        await world.user("dee")
        await world.link.redis.hdel(f"scim:{{{world.tenant}}}:lane:main", "next")  # type: ignore[misc]
        await world.drain()
        expected = {"ana": None, "robert": {E}, "dorothy": {E}, "dee": {E}}
        assert await world.held() == expected
        assert await world.letters() == {}
        await world.nothing_is_left()

    @pytest.mark.parametrize("survived", range(8))
    async def test_a_crash_while_a_name_passes_on_gives_nobody_the_leavers_user(
        self, world: World, survived: int
    ) -> None:
        """Whether the user under the name is the old one or the new one, nobody can tell then."""
        ana = await world.user("ana")
        await world.group("Analysts", ana)
        await world.drain()
        entity = await world.entity("ana")
        await world.set_user(ana, userName="ana.b")
        await world.user("ana")
        await world.lane(world.unavailable_after(survived)).drain()
        await world.link.redis.hdel(f"scim:{{{world.tenant}}}:lane:main", "next")  # type: ignore[misc]
        await world.drain()
        assert await world.held() == {"ana": {E}, "ana.b": {E, A}}
        assert await world.entity("ana") != entity
        assert await world.letters() == {}
        await world.nothing_is_left()


class TestLease:
    async def test_a_lane_that_is_held_is_left_alone(self, world: World) -> None:
        await world.user("ana")
        held = await world.store.acquire(60_000)
        assert held is not None
        assert await world.lane().drain() is False
        assert await world.held() == {}
        await world.store.release(held.epoch)
        await world.drain()
        assert await world.held() == {"ana": {E}}

    async def test_a_lane_with_nothing_to_do_is_not_taken(self, world: World) -> None:
        await world.user("ana")
        await world.drain()
        before = await world.store.acquire(60_000)  # as whoever does not ask for work
        assert before is not None
        await world.store.release(before.epoch)
        assert await world.lane().drain() is False
        after = await world.store.acquire(60_000)
        assert after is not None
        assert after.epoch == before.epoch + 1

    async def test_a_holder_whose_lease_is_gone_sends_nothing_more(self, world: World) -> None:
        """Somebody else took the lane while it was away: it stops before the next statement."""
        await world.drain()
        world.raw["worker"] = {"lease_seconds": 1}
        world.configure()
        for number in range(3):
            await world.user(f"u{number}")

        async def away() -> None:
            await world.link.redis.delete(f"scim:{{{world.tenant}}}:lease:main")
            taken = await world.store.acquire(60_000)
            assert taken is not None
            async with asyncio.timeout(5):
                while asyncio.get_running_loop().time() < began + 1.1:  # noqa: ASYNC110 - a lease
                    await asyncio.sleep(0.05)

        began = asyncio.get_running_loop().time()
        sent: list[Statement] = []

        async def first_is_slow(count: int, statement: Statement) -> None:
            sent.append(statement)
            if count == 0:
                await away()

        lane = world.lane(first_is_slow)
        with world.logs() as lines:
            assert await lane.drain() is False
        assert len(sent) == 1
        assert [line["event"] for line in lines if line["event"].startswith("lane.")] == [
            "lane.left"
        ]
        assert (await world.status()).applied_seq == 0

    async def test_a_cancelled_drain_gives_the_lane_back_at_once(self, world: World) -> None:
        await world.user("ana")
        reached = asyncio.Event()

        async def hang() -> None:
            reached.set()
            await asyncio.sleep(60)

        drain = asyncio.create_task(world.lane(lambda *_: hang()).drain())
        await reached.wait()
        drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drain
        await world.drain()
        assert await world.held() == {"ana": {E}}


class TestDeadLetters:
    async def test_a_name_that_is_taken_is_parked_and_the_others_go_on(self, world: World) -> None:
        taken = quote_identifier(world.name("ana"))
        await world.sql(f"CREATE USER {taken} IDENTIFIED WITH no_password")
        before = await world.sql(f"SHOW CREATE USER {taken}")
        ana, bo = await world.user("ana"), await world.user("bo")
        await world.group("Analysts", ana, bo)
        await world.drain()
        assert (await world.held())["bo"] == {E, A}
        (letter,) = (await world.letters()).values()
        assert letter.id == f"{world.tenant}/main/{ana}"
        assert (letter.resource_type, letter.resource_id, letter.code) == ("User", ana, 493)
        assert letter.name == world.name("ana")
        assert world.name("ana") in letter.error
        assert (letter.seq_first, letter.seq_last, letter.attempts) == (1, 3, 1)
        assert await world.sql(f"SHOW CREATE USER {taken}") == before
        assert await world.sql(f"SHOW GRANTS FOR {taken}") == []

    async def test_a_replay_counts_an_attempt_or_resolves_the_letter(self, world: World) -> None:
        taken = quote_identifier(world.name("ana"))
        await world.sql(f"CREATE USER {taken}")
        ana = await world.user("ana")
        await world.drain()
        await world.store.ask([ana])
        await world.drain()
        (letter,) = (await world.letters()).values()
        assert letter.attempts == 2
        await world.sql(f"DROP USER {taken}")
        await world.store.ask([ana])
        await world.drain()
        assert await world.letters() == {}
        assert await world.held() == {"ana": {E}}

    async def test_a_letter_is_over_when_the_resource_is_deleted(self, world: World) -> None:
        await world.sql(f"CREATE USER {quote_identifier(world.name('ana'))}")
        ana = await world.user("ana")
        await world.drain()
        await world.delete(ana)
        await world.drain()
        assert await world.letters() == {}

    async def test_a_missing_role_is_named_and_the_other_roles_are_given(
        self, world: World
    ) -> None:
        world.configure(default_roles=[world.role(E), "no_such_role"])
        ana = await world.user("ana")
        await world.drain()
        assert await world.held() == {"ana": {E}}
        letter = (await world.letters())[ana]
        assert letter.code == 511
        assert "no_such_role" in letter.error

    async def test_a_role_that_the_server_does_not_know_at_once_is_waited_for(
        self, world: World
    ) -> None:
        """511 after our own CREATE ROLE, as replicated storage answers for a moment."""
        ana = await world.user("ana")
        await world.group("Analysts", ana)
        refused: list[str] = []

        def late(_: int, statement: Statement) -> None:
            if "GRANT" in statement.sql and world.role(A) in statement.sql and len(refused) < 4:
                refused.append(statement.sql)
                raise StatementRefused("no such role", code=511, statement=statement.sql)

        await world.lane(late).drain()
        assert len(refused) == 4
        assert await world.held() == {"ana": {E, A}}
        assert await world.letters() == {}

    async def test_a_role_that_exists_by_hand_is_parked_and_left_as_it_is(
        self, world: World
    ) -> None:
        role = quote_identifier(world.role(W))
        await world.sql(f"CREATE ROLE {role}")
        await world.user("ana")
        await world.drain()
        letter = (await world.letters())[f"role:{world.role(W)}"]
        assert (letter.resource_type, letter.name) == ("Role", world.role(W))
        assert await world.sql(f"SHOW GRANTS FOR {role}") == []
        await world.sql(f"DROP ROLE {role}")
        await world.store.ask([f"role:{world.role(W)}"])
        await world.drain()
        assert await world.letters() == {}
        grants = await world.sql(f"SHOW GRANTS FOR {role}")
        assert (f"GRANT INSERT ON analytics.* TO {world.role(W)}",) in grants

    async def test_a_refused_role_is_not_tried_again_with_each_event(self, world: World) -> None:
        await world.sql(f"CREATE ROLE {quote_identifier(world.role(W))}")
        await world.drain()
        await world.user("ana")
        await world.drain()
        assert (await world.letters())[f"role:{world.role(W)}"].attempts == 1

    async def test_a_user_that_is_refused_alone_is_parked_alone(self, world: World) -> None:
        await world.drain()
        users = [await world.user(f"u{number}") for number in range(7)]
        await world.lane(world.refusing("__u3`", 36)).drain()
        assert set(await world.letters()) == {users[3]}
        assert len(await world.held()) == 6

    async def test_a_revocation_that_fails_is_told_from_other_letters(self, world: World) -> None:
        ana = await world.user("ana")
        await world.drain()
        await world.set_user(ana, active=False)
        await world.lane(world.refusing("REVOKE ALL EXCEPT")).drain()
        letter = (await world.letters())[ana]
        assert letter.revocation
        assert letter.code == 497

    async def test_a_statement_without_effect_is_noticed(self, world: World) -> None:
        """The server says yes and does nothing, as replicated storage did: look, don't trust."""

        class Idle(type(world.lane().target)):  # type: ignore[misc]
            async def execute(self, statement: Statement, *, log_comment: str) -> None:
                if "CREATE USER" not in statement.sql:
                    await super().execute(statement, log_comment=log_comment)

        await world.drain()
        ana = await world.user("ana")
        lane = world.lane()
        lane.target = Idle(world.pool, world.marker, Clock())
        await lane.drain()
        assert ana in await world.letters()

    async def test_a_protected_name_is_refused(self, world: World) -> None:
        world.configure(user_name="{userName}")
        user = await world.user("default")
        mine = await world.user(f"{world.tenant}-provisioner")
        before = await world.sql("SHOW CREATE USER default")
        await world.drain()
        letters = await world.letters()
        assert "protected" in letters[user].error
        assert "protected" in letters[mine].error
        assert await world.sql("SHOW CREATE USER default") == before

    async def test_a_name_that_the_template_can_not_make_is_parked_and_locked(
        self, world: World
    ) -> None:
        """The file was changed after the user had been taken."""
        ana = await world.user("ana")
        await world.drain()
        world.configure(
            user_name="{tenant}__{userName|localpart}", verified_domains=["acme.example"]
        )
        await world.drain()
        assert await world.held() == {"ana": None}
        assert "address at acme.example" in (await world.letters())[ana].error


class TestPoison:
    async def test_two_bad_ones_among_a_thousand_are_two_letters_and_a_replay_heals(
        self, world: World
    ) -> None:
        """A role that is missing, and one that the workers' account may not give."""
        guarded, missing = world.role("guarded"), world.role("missing")
        world.raw["worker"] = {}
        world.configure(
            groups=[
                {"group": "Analysts", "roles": [world.role(A)]},
                {"group": "Ghosts", "roles": [missing]},
                {"group": "Keepers", "roles": [guarded]},
            ]
        )
        names = [f"u{number}" for number in range(1000)]
        users = dict(zip(names, await asyncio.gather(*map(world.user, names)), strict=True))
        await world.group("Analysts", *users.values())
        await world.group("Ghosts", users["u1"])
        await world.group("Keepers", users["u2"])
        await world.sql(f"CREATE ROLE {quote_identifier(guarded)}")

        def guard(_: int, statement: Statement) -> None:
            if f"`{guarded}`" in statement.sql:
                raise StatementRefused("not yours", code=497, statement=statement.sql)

        while await world.lane(guard).drain():
            pass
        held = await world.held()
        assert len(held) == 1000
        assert all(roles is not None and {E, A} <= roles for roles in held.values())
        letters = await world.letters()
        assert {letter.code for letter in letters.values()} == {511, 497}
        assert letters.keys() == {users["u1"], users["u2"]}
        assert "missing" in letters[users["u1"]].error
        assert guarded in letters[users["u2"]].statement
        await world.sql(f"CREATE ROLE {quote_identifier(missing)}")
        await world.store.ask(letters)
        await world.drain()
        assert await world.letters() == {}
        held = await world.held()
        assert held["u1"] == {E, A, "missing"}
        assert held["u2"] == {E, A, "guarded"}


class TestTargetFaults:
    async def test_a_lane_whose_target_is_away_says_so_and_goes_on_by_itself(
        self, world: World
    ) -> None:
        await world.user("ana")
        await world.lane(world.unavailable_after(0)).drain()
        status = await world.status()
        assert status.state == "backing-off"
        assert status.last_error is not None
        assert "it went away" in status.last_error
        assert status.dead_letters == 0
        assert status.lag_seconds > 0

        async def drained() -> bool:
            await world.lane().drain()  # refused until the pause is over
            return (await world.status()).applied_seq == 1

        await world.until(drained)
        status = await world.status()
        assert (status.state, status.last_error, status.lag_seconds) == ("idle", None, 0.0)

    async def test_pauses_grow_and_are_bounded(self, world: World) -> None:
        await world.user("ana")
        pauses = []
        for _ in range(12):
            with world.logs() as lines:
                await world.lane(world.unavailable_after(0)).drain()
            (told,) = [line for line in lines if line["event"] == "lane.backing_off"]
            pauses.append(told["pause_s"])
            await world.link.redis.hdel(f"scim:{{{world.tenant}}}:lane:main", "next")  # type: ignore[misc]
        assert told["attempts"] == 12
        assert max(pauses[:2]) <= 1.0
        assert max(pauses) <= 10.0

    async def test_a_target_that_forgot_everything_is_filled_again(self, world: World) -> None:
        ana = await world.user("ana")
        await world.user("bo")
        await world.group("Writers", ana)
        await world.drain()
        for name in ("ana", "bo"):
            await world.sql(f"DROP USER {quote_identifier(world.name(name))}")
        for role in (world.marker, *map(world.role, (E, A, W))):
            await world.sql(f"DROP ROLE {quote_identifier(role)}")
        await world.user("cy")
        await world.drain()
        assert await world.held() == {"ana": {E, A, W}, "bo": {E}, "cy": {E}}
        grants = await world.sql(f"SHOW GRANTS FOR {quote_identifier(world.role(W))}")
        assert (f"GRANT INSERT ON analytics.* TO {world.role(W)}",) in grants

    async def test_what_others_changed_is_mended_by_a_resync(self, world: World) -> None:
        ana, _, cy = [await world.user(name) for name in ("ana", "bo", "cy")]
        await world.group("Analysts", ana)
        await world.drain()
        await world.set_user(cy, active=False)
        await world.drain()
        name = {user: quote_identifier(world.name(user)) for user in ("ana", "bo", "cy")}
        analyst, writer, employee = (quote_identifier(world.role(r)) for r in (A, W, E))
        await world.sql(f"GRANT {writer} TO {name['ana']}")
        await world.sql(f"REVOKE {analyst} FROM {name['ana']}")
        await world.sql(f"DROP USER {name['bo']}")
        await world.sql(f"ALTER USER {name['cy']} HOST ANY")
        await world.sql(f"GRANT {employee} TO {name['cy']}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"ana": {E, A}, "bo": {E}, "cy": None}

    async def test_a_role_from_elsewhere_is_its_givers_business_until_the_lock(
        self, world: World
    ) -> None:
        other, name = quote_identifier(f"{world.tenant}-by-hand"), world.name("ana")
        ana = await world.user("ana")
        await world.drain()
        await world.sql(f"CREATE ROLE {other}")
        await world.sql(f"GRANT {other} TO {quote_identifier(name)}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"ana": {E, f"{world.tenant}-by-hand"}}
        await world.set_user(ana, active=False)
        await world.drain()
        assert await world.held() == {"ana": None}

    async def test_without_the_right_to_make_the_marker_the_lane_waits_and_parks_nobody(
        self, world: World
    ) -> None:
        await world.user("ana")
        await world.lane(world.refusing(f"CREATE ROLE `{world.marker}`")).drain()
        status = await world.status()
        assert status.state == "backing-off"
        assert status.last_error is not None
        assert world.marker in status.last_error
        assert status.dead_letters == 0

    async def test_managed_users_that_nobody_is_behind_are_locked(self, world: World) -> None:
        """Renamed by hand, made by hand with the marker, or left over in a restored target."""
        await world.user("ana")
        await world.drain()
        ghost, marker, analyst = map(
            quote_identifier, (world.name("ghost"), world.marker, world.role(A))
        )
        renamed = quote_identifier(world.name("mallory"))
        await world.sql(f"ALTER USER {quote_identifier(world.name('ana'))} RENAME TO {renamed}")
        await world.sql(f"CREATE USER {ghost} IDENTIFIED WITH no_password")
        await world.sql(f"GRANT {marker}, {analyst} TO {ghost}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"ana": {E}, "mallory": None, "ghost": None}
        await world.user("ghost")
        await world.drain()
        assert await world.held() == {"ana": {E}, "mallory": None, "ghost": {E}}
        await world.store.ask(resync=True)
        assert not any(batch["steps"] for batch in await world.drain())

    async def test_a_directory_that_was_lost_takes_nobodys_access(self, world: World) -> None:
        """An empty Redis says nothing: it has to be filled again first."""
        await world.user("ana")
        await world.drain()
        keys = [k async for k in world.link.redis.scan_iter(f"scim:{{{world.tenant}}}:*")]
        await world.link.redis.delete(*keys)
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"ana": {E}}

    async def test_a_statement_of_a_holder_that_is_gone_is_looked_for(self, world: World) -> None:
        """A worker was killed while its GRANT was on the way; it arrives after everything else."""
        world.raw["worker"] = {"statement_seconds": 0.1}
        world.configure()
        ana = await world.user("ana")
        analysts = await world.group("Analysts", ana)
        await world.drain()
        await world.members(analysts, remove=(ana,))
        held = await world.store.acquire(1)
        assert held is not None
        await world.until(world.lane_is_free)
        await world.drain()
        name, role = quote_identifier(world.name("ana")), quote_identifier(world.role(A))
        await world.sql(f"GRANT {role} TO {name}")
        assert await world.held() == {"ana": {E, A}}

        async def looked_again() -> bool:
            await world.store.recall(100)
            await world.drain()
            return await world.held() == {"ana": {E}}

        await world.until(looked_again)

    async def test_after_a_lost_answer_the_users_in_hand_are_looked_at_again(
        self, world: World
    ) -> None:
        ana = await world.user("ana")
        await world.drain()
        bo = await world.user("bo")
        await world.lane(world.unavailable_after(0)).drain()
        assert await world.suspects() == {bo}
        assert ana != bo

    async def test_everybody_of_a_lost_batch_is_looked_at_again_however_slow_the_target_is_by_now(
        self, world: World
    ) -> None:
        """The lost holder had as many in hand as there may be; the next one would take fewer."""
        world.raw["worker"] = {"batch_users": 120}
        world.configure()
        await world.drain()
        people = {await world.user(f"u{number}") for number in range(100)}
        asked = {f"asked{number}" for number in range(100)}
        await world.store.ask(asked)
        assert await world.store.acquire(1) is not None
        await world.until(world.lane_is_free)
        lane = world.lane(world.unavailable_after(0))
        lane.pace = Pace(users_per_s=1.0)
        await lane.drain()
        assert await world.suspects() == people | asked

    async def test_that_a_holder_was_lost_is_known_until_its_users_are_noted(
        self, world: World
    ) -> None:
        ana = await world.user("ana")
        assert await world.store.acquire(1) is not None
        await world.until(world.lane_is_free)
        lane = world.lane()

        async def away() -> int:
            raise DirectoryUnavailable("Redis is away")

        lane.store.last_seq = away  # type: ignore[method-assign]
        await lane.drain()
        assert await world.suspects() == set()
        await world.link.redis.delete(f"scim:{{{world.tenant}}}:lease:main")  # it runs out
        await world.drain()
        assert await world.suspects() == {ana}

    async def test_for_a_target_that_is_known_to_be_away_nothing_is_read(
        self, world: World
    ) -> None:
        await world.user("ana")
        lane = world.lane()

        def check() -> None:
            raise TargetUnavailable("it was away a moment ago", code=210, wait_s=0.2)

        async def read(*_: object) -> int:
            raise AssertionError

        lane.target.check = check  # type: ignore[method-assign]
        lane.store.last_seq = read  # type: ignore[method-assign]
        await lane.drain()
        status = await world.status()
        assert (status.state, status.applied_seq) == ("backing-off", 0)
        assert status.last_error is not None
        assert "away a moment ago" in status.last_error


class TestConfiguration:
    async def test_a_group_that_was_there_before_its_mapping_is_found(self, world: World) -> None:
        ana, bo = await world.user("ana"), await world.user("bo")
        await world.group("By name", ana)
        await world.group("Whatever", bo, external_id="G-1")
        await world.drain()
        world.configure(
            groups=[
                {"group": "by NAME", "roles": [world.role(A)]},
                {"external_id": "G-1", "roles": [world.role(W)]},
                {"external_id": "g-1", "roles": [world.role(A)]},
            ]
        )
        await world.drain()
        assert await world.held() == {"ana": {E, A}, "bo": {E, W}}

    async def test_a_changed_role_map_reaches_everybody(self, world: World) -> None:
        ana, bo = await world.user("ana"), await world.user("bo")
        await world.group("Analysts", ana)
        await world.group("Later", bo)
        await world.drain()
        world.configure(
            groups=[
                {"group": "Analysts", "roles": [world.role(W)]},
                {"group": "Later", "roles": [world.role(A)]},
            ]
        )
        await world.drain()
        assert await world.held() == {"ana": {E, W}, "bo": {E, A}}

    async def test_a_changed_template_renames_everybody(self, world: World) -> None:
        await world.user("ana")
        await world.drain()
        entity = await world.entity("ana")
        world.configure(user_name="{tenant}__x-{userName}")
        await world.drain()
        assert await world.held() == {"x-ana": {E}}
        assert await world.entity("x-ana") == entity

    async def test_a_resync_that_is_asked_for_meanwhile_starts_again(self, world: World) -> None:
        for number in range(120):
            await world.user(f"u{number}")
        await world.drain()
        name = quote_identifier(world.name("u0"))
        await world.store.ask(resync=True)
        dropped: list[bool] = []

        async def drop(sent: int, statement: Statement) -> None:
            del sent, statement

        lane = world.lane(drop)
        original = lane.store.acknowledge

        async def acknowledge(epoch: int, batch: Any, facts: Any = ()) -> bool:
            if not dropped:
                dropped.append(True)
                await world.sql(f"DROP USER {name}")
                await world.store.ask(resync=True)
            return await original(epoch, batch, facts)

        lane.store.acknowledge = acknowledge  # type: ignore[method-assign]
        await lane.drain()
        await world.drain()
        assert (await world.held())["u0"] == {E}

    async def test_a_paused_lane_waits(self, world: World) -> None:
        await world.store.pause()
        await world.user("ana")
        assert await world.lane().drain() is False
        assert (await world.status()).state == "paused"
        assert await world.held() == {}
        await world.store.resume()
        await world.drain()
        assert await world.held() == {"ana": {E}}

    async def test_a_role_that_two_tenants_define_alike_is_shared(self, world: World) -> None:
        other = f"{world.tenant}x"
        world.raw["tenants"][other] = world.raw["tenants"][world.tenant] | {
            "marker_role": f"{other}_managed"
        }
        world.configure()
        second = type(world)(other, world.link, world.admin, world.pool, world.settings, world.raw)
        await world.user("ana")
        await second.user("ana")
        await asyncio.gather(world.lane().drain(), second.lane().drain())
        assert await world.letters() == {}
        assert await second.letters() == {}
        assert set(await world.held()) == {"ana"}
        assert set(await second.held()) == {"ana"}


class TestSize:
    async def test_a_group_far_larger_than_a_batch_goes_in_parts(self, world: World) -> None:
        users = [await world.user(f"u{number}") for number in range(450)]
        await world.drain()
        group = await world.group("Analysts")
        await world.members(group, replace=tuple(users))
        batches = await world.drain()
        assert sum(batch["steps"] for batch in batches) <= 10
        held = await world.held()
        assert len(held) == 450
        assert all(roles == {E, A} for roles in held.values())
        await world.members(group, replace=())
        await world.drain(state="blocked")
        await world.store.confirm()
        await world.drain()
        assert all(roles == {E} for roles in (await world.held()).values())

    async def test_many_changes_of_a_user_are_one_final_state(self, world: World) -> None:
        ana = await world.user("ana")
        for number in range(30):
            await world.set_user(ana, active=number % 2 == 1)
        (first, *_) = await world.drain()
        assert first["users"] == 1
        assert await world.held() == {"ana": {E}}


class TestTraces:
    async def test_each_statement_tells_which_events_and_request_are_behind_it(
        self, world: World
    ) -> None:
        await world.drain()
        await world.user("ana")
        comments = []

        class Listening(type(world.lane().target)):  # type: ignore[misc]
            async def execute(self, statement: Statement, *, log_comment: str) -> None:
                comments.append(log_comment)
                await super().execute(statement, log_comment=log_comment)

        lane = world.lane()
        lane.target = Listening(world.pool, world.marker, Clock())
        await lane.drain()
        assert comments
        for comment in comments:
            assert f'"{world.tenant}/main"' in comment
            assert '"seq":[1,1]' in comment
            assert '"requests":["req-1"]' in comment
