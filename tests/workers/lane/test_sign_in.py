"""Ways to log in, from where, and where sessions begin: changed for people who are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.workers.lane.test_role_map import show
from workers.access.statements import quote_identifier

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World


async def test_everything_about_a_log_in_is_changed_in_one_statement(world: World) -> None:
    await world.user("ana")
    await world.drain()
    world.configure(
        authentication={"method": "ssl_certificate", "subject_alt_name": "URI:x/{userName}"},
        further_authentication=[{"method": "ldap", "server": "corp"}, {"method": "kerberos"}],
        networks=["10.0.0.0/8", "127.0.0.1", "2001:db8::/32", "192.0.2.7"],
    )
    assert sum(line["steps"] for line in await world.drain()) == 1
    assert (await show(world, "ana"))[0] == (
        "CREATE USER _ana IDENTIFIED WITH ssl_certificate SAN 'URI:x/ana', ldap SERVER 'corp',"
        " kerberos HOST LOCAL, IP '192.0.2.7', '10.0.0.0/8', '2001:db8::/32'"
    )
    await world.store.ask(resync=True)
    assert sum(line["steps"] for line in await world.drain()) == 0


async def test_a_group_says_where_its_members_may_come_from(world: World) -> None:
    analysts = {"group": "Analysts", "roles": [world.role("analyst")]}
    world.configure(
        networks=["10.0.0.0/8"],
        groups=[
            {**analysts, "networks": ["192.0.2.0/24"]},
            {**analysts, "group": "Remote", "networks": ["198.51.100.0/24"]},
        ],
    )
    ana, bo, _ = [await world.user(name) for name in ("ana", "bo", "cy")]
    await world.group("Analysts", ana, bo)
    remote = await world.group("Remote", bo)
    await world.drain()
    hosts = {
        name: (await show(world, name))[0].partition(" HOST ")[2] for name in ("ana", "bo", "cy")
    }
    assert hosts == {
        "ana": "IP '192.0.2.0/24'",
        "bo": "IP '192.0.2.0/24', '198.51.100.0/24'",
        "cy": "IP '10.0.0.0/8'",
    }
    await world.set_user(bo, active=False)
    await world.drain()
    await world.set_user(bo, active=True)
    await world.members(remote, remove=(bo,))
    await world.drain()
    assert (await show(world, "bo"))[0].endswith("HOST IP '192.0.2.0/24'")


async def test_a_session_begins_where_the_file_says(world: World) -> None:
    await world.user("ana")
    await world.drain()
    profile = f"{world.tenant}_people"
    await world.sql(f"CREATE SETTINGS PROFILE {quote_identifier(profile)} SETTINGS max_threads = 2")
    world.configure(default_database="crm", settings_profile=profile)
    await world.drain()
    assert (await show(world, "ana"))[0] == (
        "CREATE USER _ana IDENTIFIED WITH no_password DEFAULT DATABASE crm"
        " SETTINGS PROFILE `people`"
    )
    await world.user("bo")
    await world.drain()
    assert (await show(world, "bo"))[0].endswith("DEFAULT DATABASE crm SETTINGS PROFILE `people`")
    world.configure(default_database=None, settings_profile=None)
    await world.drain()
    assert (await show(world, "ana"))[0] == "CREATE USER _ana IDENTIFIED WITH no_password"


async def test_a_profile_that_is_missing_is_told_of_whom_it_concerns(world: World) -> None:
    world.configure(settings_profile="nowhere")
    ana = await world.user("ana")
    await world.drain()
    (letter,) = (await world.letters()).values()
    assert (letter.resource_id, letter.code) == (ana, 180)
    assert "nowhere" in letter.error
