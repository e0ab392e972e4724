"""What the role map says, on a real target: patterns, roles of groups' own, ends, ways to hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from app.clock import Clock
from tests.workers.lane.conftest import ORIGIN
from workers.access.statements import quote_identifier, quote_literal

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World

E, A, W = "employee", "analyst", "writer"
CONTRACT = "urn:acme:scim:schemas:2.0:Contract"


def mapped(world: World, **entry: Any) -> dict[str, Any]:
    return {**entry, "roles": [world.role(role) for role in entry["roles"]]}


async def make_role(world: World, *names: str) -> None:
    for name in names:
        await world.sql(f"CREATE ROLE {quote_identifier(world.role(name))}")


class TestPatterns:
    @pytest.fixture(autouse=True)
    async def _patterns(self, world: World) -> None:
        world.configure(
            groups=[
                mapped(world, group="ch-prod-boss", roles=[W]),
                mapped(world, pattern="ch-prod-*", roles=["{1}_reader"]),
                mapped(world, pattern="ch-*-*", roles=["{1}_{2}"]),
            ]
        )
        await make_role(world, "Sales_reader", "dev_sales")

    async def test_a_groups_name_says_what_it_gives(self, world: World) -> None:
        ana, bo, cy = await world.user("ana"), await world.user("bo"), await world.user("cy")
        await world.group("CH-prod-Sales", ana)
        await world.group("ch-dev-sales", bo)
        await world.group("ch-prod-boss", cy)
        await world.drain()
        assert await world.held() == {
            "ana": {E, "Sales_reader"},
            "bo": {E, "dev_sales"},
            "cy": {E, W},
        }
        assert await world.letters() == {}

    async def test_a_renamed_group_stays_and_another_one_of_its_name_gives_nothing(
        self, world: World
    ) -> None:
        ana, bo = await world.user("ana"), await world.user("bo")
        group = await world.group("ch-prod-Sales", ana)
        await world.drain()
        await world.rename_group(group, "ch-dev-sales")
        await world.group("ch-prod-sales", bo)
        await world.drain()
        assert await world.held() == {"ana": {E, "Sales_reader"}, "bo": {E}}
        await world.delete_group(group)
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": {E}}

    async def test_a_group_that_was_there_before_the_pattern_is_read(self, world: World) -> None:
        ana = await world.user("ana")
        world.configure(groups=[])
        await world.group("ch-prod-Sales", ana)
        await world.drain()
        assert await world.held() == {"ana": {E}}
        world.configure(groups=[mapped(world, pattern="ch-prod-*", roles=["{1}_reader"])])
        await world.drain()
        assert await world.held() == {"ana": {E, "Sales_reader"}}

    async def test_whoever_leaves_loses_a_role_that_no_entry_names(self, world: World) -> None:
        ana = await world.user("ana")
        group = await world.group("ch-prod-Sales", ana)
        await world.drain()
        await world.members(group, remove=(ana,))
        await world.drain()
        assert await world.held() == {"ana": {E}}

    async def test_a_role_that_manages_access_is_not_given_whoever_asks_for_it(
        self, world: World
    ) -> None:
        await make_role(world, "ops_reader", "ops_root")
        root, reader = (quote_identifier(world.role(r)) for r in ("ops_root", "ops_reader"))
        await world.sql(f"GRANT CREATE USER ON *.* TO {root}")
        await world.sql(f"GRANT {root} TO {reader}")
        ana = await world.user("ana")
        await world.group("ch-prod-ops", ana)
        await world.drain()
        assert await world.held() == {"ana": {E}}
        (letter,) = (await world.letters()).values()
        assert letter.resource_id == ana
        assert f"role '{world.role('ops_reader')}'" in letter.error
        assert "manages access" in letter.error

    async def test_a_protected_role_is_not_given_whatever_a_group_is_called(
        self, world: World
    ) -> None:
        world.configure(groups=[{"pattern": "ch-*", "roles": ["{1}"]}])
        ana = await world.user("ana")
        for role in ("admin", "scim_managed", world.marker):
            await world.group(f"ch-{role}", ana)
        await world.drain()
        assert await world.held() == {"ana": {E}}
        (letter,) = (await world.letters()).values()
        assert "'admin'" in letter.error
        assert f"'{world.marker}'" in letter.error


class TestRolesOfGroups:
    @pytest.fixture(autouse=True)
    async def _created(self, world: World) -> None:
        world.configure(unmapped_groups="create", role_prefix=f"{world.tenant}_of ")

    async def marked(self, world: World) -> set[str]:
        rows = await world.sql(
            "SELECT role_name FROM system.role_grants WHERE isNotNull(role_name)"
            f" AND granted_role_name = {quote_literal(world.marker)}"
        )
        return {row[0].removeprefix(f"{world.tenant}_") for row in rows}

    async def test_a_group_gets_a_role_of_its_own_before_it_has_members(self, world: World) -> None:
        group = await world.group("Night shift")
        await world.group("Analysts")
        await world.drain()
        assert await self.marked(world) == {E, A, W, "of Night shift"}
        ana = await world.user("ana")
        await world.members(group, add=(ana,))
        await world.drain()
        assert await world.held() == {"ana": {E, "of Night shift"}}

    async def test_what_administrators_give_it_stays(self, world: World) -> None:
        world.configure(foreign_grants="revoke")
        await world.group("Night shift")
        await world.drain()
        role = quote_identifier(world.role("of Night shift"))
        await world.sql(f"GRANT SELECT ON night.* TO {role}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.sql(f"SHOW GRANTS FOR {role}") == [
            (f"GRANT SELECT ON night.* TO {role}",),
            (f"GRANT {world.marker} TO {role}",),
        ]

    async def test_a_role_that_others_made_is_not_taken_for_it(self, world: World) -> None:
        await make_role(world, "of Night shift")
        ana = await world.user("ana")
        await world.group("Night shift", ana)
        await world.drain()
        assert await world.held() == {"ana": {E}}
        letters = await world.letters()
        assert set(letters) == {ana, f"role:{world.role('of Night shift')}"}
        assert all("was not made by this software" in one.error for one in letters.values())
        assert await self.marked(world) == {E, A, W}

    async def test_a_target_that_was_wiped_gets_it_back(self, world: World) -> None:
        ana = await world.user("ana")
        await world.group("Night shift", ana)
        await world.group("Empty")
        await world.drain()
        for role in (await self.marked(world)) | {"managed"}:
            await world.sql(f"DROP ROLE {quote_identifier(world.role(role))}")
        await world.sql(f"DROP USER {quote_identifier(world.name('ana'))}")
        await world.store.ask(resync=True)
        await world.drain()
        assert await self.marked(world) == {E, A, W, "of Night shift", "of Empty"}
        assert await world.held() == {"ana": {E, "of Night shift"}}


async def show(world: World, user_name: str) -> list[str]:
    name = quote_identifier(world.name(user_name))
    lines = [
        *await world.sql(f"SHOW CREATE USER {name}"),
        *await world.sql(f"SHOW GRANTS FOR {name}"),
    ]
    return [str(line).replace(f"{world.tenant}_", "") for (line,) in lines]


class TestHowRolesAreHeld:
    async def test_dormant_roles_and_the_right_to_hand_on(self, world: World) -> None:
        world.configure(
            groups=[
                mapped(world, group="Night", roles=[A], default=False),
                mapped(world, group="Lead", roles=[W], admin_option=True),
            ]
        )
        ana = await world.user("ana")
        night, lead = await world.group("Night", ana), await world.group("Lead", ana)
        await world.drain()
        assert await show(world, "ana") == [
            "CREATE USER _ana IDENTIFIED WITH no_password DEFAULT ROLE ALL EXCEPT analyst",
            "GRANT analyst, employee, managed TO _ana",
            "GRANT writer TO _ana WITH ADMIN OPTION",
        ]
        world.configure(groups=[mapped(world, group="Lead", roles=[W])])
        await world.drain()
        assert await show(world, "ana") == [
            "CREATE USER _ana IDENTIFIED WITH no_password",
            "GRANT employee, managed, writer TO _ana",
        ]
        await world.delete_group(night)
        await world.delete_group(lead)
        assert sum(line["steps"] for line in await world.drain()) == 1

    async def test_what_somebody_may_hand_on_by_another_hand_is_mended(self, world: World) -> None:
        ana = await world.user("ana")
        await world.group("Analysts", ana)
        await world.drain()
        before = await show(world, "ana")
        role, name = quote_identifier(world.role(A)), quote_identifier(world.name("ana"))
        await world.sql(f"GRANT {role} TO {name} WITH ADMIN OPTION")
        await world.store.ask(resync=True)
        await world.drain()
        assert await show(world, "ana") == before


class TestEnds:
    async def test_an_entry_gives_nothing_once_it_is_over(self, world: World) -> None:
        end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
        past = datetime(2020, 1, 1)  # noqa: DTZ001 - as a file may have it
        world.configure(
            groups=[
                mapped(world, group="Project", roles=[A], until=end),
                mapped(world, group="Project", roles=[W], until=past),
            ]
        )
        ana = await world.user("ana")
        await world.group("Project", ana)
        await world.drain()
        assert await world.held() == {"ana": {E, A}}
        await self.over(world)
        assert await world.held() == {"ana": {E}}

    async def test_an_attribute_says_when_it_ends_for_each(self, world: World) -> None:
        schema = {"name": "C", "attributes": [{"name": "endsAt", "type": "dateTime"}]}
        world.configure(
            schemas={CONTRACT: schema},
            groups=[
                mapped(world, group="Project", roles=[A], until_attribute=f"{CONTRACT}:endsAt")
            ],
        )
        soon = (datetime.now(UTC) + timedelta(seconds=4)).isoformat()
        people = {"ana": soon, "bo": "2020-01-01T00:00:00Z", "cy": "2090-01-01T00:00:00Z"}
        documents = [
            {"userName": name, "active": True, CONTRACT: {"endsAt": end}}
            for name, end in people.items()
        ]
        documents.append({"userName": "dan", "active": True})
        ids = [(await world.directory.create("user", one, ORIGIN)).id for one in documents]
        await world.group("Project", *ids)
        await world.drain()
        assert await world.held() == {"ana": {E, A}, "bo": {E}, "cy": {E, A}, "dan": {E, A}}
        await self.over(world)
        assert await world.held() == {"ana": {E}, "bo": {E}, "cy": {E, A}, "dan": {E, A}}

    async def test_an_attribute_ends_everything(self, world: World) -> None:
        schema = {"name": "C", "attributes": [{"name": "endsAt", "type": "dateTime"}]}
        world.configure(schemas={CONTRACT: schema}, until_attribute=f"{CONTRACT}:endsAt")
        for name, end in (("ana", "2090-01-01T00:00:00Z"), ("bo", "2020-01-01T00:00:00Z")):
            document = {"userName": name, "active": True, CONTRACT: {"endsAt": end}}
            await world.directory.create("user", document, ORIGIN)
        await world.drain()
        assert await world.held() == {"ana": {E}, "bo": None}
        assert "VALID UNTIL '2090-01-01 00:00:00'" in (await show(world, "ana"))[0]

    @staticmethod
    async def over(world: World) -> None:
        """Wait until what was expected is due, as the sweep does."""

        async def is_due() -> bool:
            due = await world.link.redis.zrange(
                f"scim:{{{world.tenant}}}:ends:main", 0, 0, False, True
            )
            return bool(due) and due[0][1] <= Clock().now_ms()

        await world.until(is_due)
        await world.store.recall(100)
        await world.drain()


class TestForeign:
    async def given_by_others(self, world: World) -> str:
        ana = await world.user("ana")
        await world.group("Analysts", ana)
        await world.drain()
        await make_role(world, "foreign")
        name = quote_identifier(world.name("ana"))
        await world.sql(f"GRANT {quote_identifier(world.role('foreign'))} TO {name}")
        return name

    async def test_what_others_give_is_kept_if_the_file_says_so(self, world: World) -> None:
        name = await self.given_by_others(world)
        await world.sql(f"GRANT SELECT ON db.* TO {name}")
        await world.store.ask(resync=True)
        assert [line["steps"] for line in await world.drain() if line["steps"]] == []
        assert await world.held() == {"ana": {E, A, "foreign"}}

    async def test_what_others_give_is_taken_if_the_file_says_so(self, world: World) -> None:
        world.configure(foreign_grants="revoke")
        await self.given_by_others(world)
        await world.store.ask(resync=True)
        await world.drain()
        assert await world.held() == {"ana": {E, A}}
