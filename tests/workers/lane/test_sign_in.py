"""Ways to log in, from where, and where sessions begin: changed for people who are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import StatementRefused
from tests.workers.lane.test_role_map import show
from workers.access.statements import quote_identifier
from workers.clickhouse.pool import Endpoint, Pool

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


async def test_a_proxy_works_for_people_who_can_not_log_in_themselves_until_they_leave(
    world: World,
) -> None:
    """`no_authentication`, and EXECUTE AS by an account of the administrators' own."""
    world.configure(authentication={"method": "no_authentication"})
    ana = await world.user("ana")
    await world.group("Analysts", ana)
    await world.drain()
    proxy, name = f"{world.tenant}-proxy", quote_identifier(world.name("ana"))
    await world.sql(f"CREATE USER {quote_identifier(proxy)} IDENTIFIED WITH no_password")
    await world.sql(f"GRANT IMPERSONATE ON {quote_identifier(world.tenant)}* TO `{proxy}`")
    pool = Pool(Endpoint(hosts=world.admin.endpoint.hosts, user=proxy))

    async def roles() -> set[str]:
        async with pool.session() as session:
            ((user, held),) = await session.query(
                f"EXECUTE AS {name} SELECT currentUser(), currentRoles()"
            )
        assert user == world.name("ana")
        return {role.removeprefix(f"{world.tenant}_") for role in held}

    assert not await world.lets_in("ana", "")
    assert await roles() == {"analyst", "employee", "managed"}
    await world.set_user(ana, active=False)
    await world.drain()
    assert await roles() == {"managed"}  # which gives nothing
    await world.delete(ana)
    await world.drain()
    with pytest.raises(StatementRefused) as refused:
        await roles()
    assert refused.value.code == 192
    await pool.close()
