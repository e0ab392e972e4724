"""Plans on a real engine, carried out by an account with the least rights.

What `simulate` says must be what the engine does: the laws of plans rest on it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

import pytest

from app.config.privileges import parse_privilege
from app.errors import LeaseLost, StatementRefused, TargetUnavailable
from app.scim.password import Hasher
from workers.access.model import Actual, Door, Login, Policy, RoleDefinition, UserState, Wanted
from workers.access.plan import plan
from workers.access.roles import plan_roles
from workers.access.simulate import simulate
from workers.access.statements import quote_identifier, quote_literal
from workers.access.steps import (
    Create,
    CreateRole,
    DefaultAll,
    Drop,
    Grant,
    Rename,
    RevokeRoles,
    Step,
    UserStep,
)
from workers.clickhouse.apply import Failure, apply
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target

Sql = Callable[[str], Awaitable[list[tuple[object, ...]]]]
LOGINS = (
    Login("kerberos"),
    Login("kerberos", (("realm", "X'Y"),)),
    Login("http", (("server", "sso"), ("scheme", "BASIC"))),
    Login("ldap", (("server", "co\\rp"),)),
    Login("ssl_certificate", (("common_name", "b'"), ("common_name", "a"))),
    Login("ssl_certificate", (("subject_alt_name", "URI:x"),)),
    Login("no_authentication"),
    Login("no_password"),
    Login("kerberos", until=2_000_000_000),
    Login("ldap", (("server", "corp"),), until=0xFFFF_FFFF),
    Login("no_authentication", until=2_000_000_000),
    Login("http", (("server", "sso"), ("scheme", "BASIC")), until=2_000_000_000),
    Login("sha256_password", secret=Hasher().hashed("right")),
    Login("sha256_password", secret=Hasher().hashed("right"), until=2_000_000_000),
)
HOSTILE = (
    "ana@acme.example",
    "it's",
    "back`tick",
    "back\\slash",
    "new\nline\ttab",
    "ünïcödé 😀",
    "-- comment",
    "/* comment */",
    "'; DROP USER default; --",
    "`; DROP USER default; --",
    "all",
    "%(name)s",
)


async def carry_out(target: Target, steps: Iterable[Step]) -> tuple[Failure, ...]:
    return await apply(target, steps, target.marker, check=lambda: None, log_comment="a test")


async def logs_in(endpoint: Endpoint, name: str, password: str) -> bool:
    pool = Pool(replace(endpoint, user=name, password=password))
    try:
        async with pool.session() as session:
            await session.query("SELECT 1")
    except TargetUnavailable as error:
        if error.code != 516:
            raise
        return False
    finally:
        await pool.close()
    return True


@pytest.fixture
async def roles(target: Target, sql: Sql, tag: str) -> tuple[str, str, str]:
    """Make the marker and three roles: two of the vocabulary, and one of somebody else."""
    assert await carry_out(target, [CreateRole(target.marker, ())]) == ()
    made = (f"{tag}reader", f"{tag}writer", f"{tag}foreign")
    for role in made:
        await sql(f"CREATE ROLE {quote_identifier(role)}")
    return made


MEDDLING = (
    "GRANT {foreign} TO {user}",
    "REVOKE ALL FROM {user}",
    "ALTER USER {user} HOST NONE",
    "ALTER USER {user} VALID UNTIL '2040-01-01'",
    "ALTER USER {user} HOST IP '192.0.2.1'",
    "ALTER USER {user} DEFAULT ROLE NONE",
    "ALTER USER {user} IDENTIFIED WITH sha256_password BY 'x', plaintext_password BY 'y'",
    "GRANT SELECT ON crm.customers TO {user}",
    "DROP USER {user}",
)


@pytest.mark.parametrize("seed", range(4))
async def test_the_engine_does_what_the_model_says(
    target: Target, sql: Sql, tag: str, roles: tuple[str, str, str], seed: int
) -> None:
    """Random directories against what administrators do meanwhile: renames, swaps, re-hires."""
    dice = random.Random(seed)
    reader, writer, foreign = roles
    missing = f"{tag}missing"
    names = [f"{tag}{name}" for name in ("ana", "bo`o", "cy\\'--", 'ü😀"\n\t; DROP USER default')]
    vocabulary = frozenset({reader, writer, missing})
    asked = {*vocabulary, foreign}
    # The account can only take privileges away that it could give.
    await sql(f"GRANT SELECT ON crm.* TO {quote_identifier(f'{tag}provisioner')} WITH GRANT OPTION")
    for _ in range(30):
        there = (await target.observe(names, ())).users
        for name in names:
            user = quote_identifier(name)
            if name not in there and dice.random() < 0.1:
                await sql(f"CREATE USER {user}")
            elif name in there and dice.random() < (0.15 if there[name].managed else 0.5):
                change = dice.choice(MEDDLING) if there[name].managed else MEDDLING[-1]
                await sql(change.format(user=user, foreign=quote_identifier(foreign)))
        before = await target.observe(names, asked)
        wanted = [
            Wanted(
                resource_id=str(at),
                name=dice.choice([*names, None]),
                previous=dice.choice([*names, None]),
                active=dice.random() < 0.7,
                roles=frozenset(role for role in sorted(vocabulary) if dice.random() < 0.5),
                login=dice.choice(LOGINS),
            )
            for at in range(dice.randrange(5))
        ]
        policy = Policy(
            marker=target.marker, vocabulary=vocabulary, drop_deleted=dice.random() < 0.5
        )
        steps = plan(wanted, before, policy).steps
        assert await carry_out(target, steps) == ()
        assert await target.observe(names, asked) == simulate(steps, before)


async def test_the_engine_tells_nothing_of_a_password_and_lets_in_whoever_knows_it(
    target: Target, endpoint: Endpoint, sql: Sql, tag: str, roles: tuple[str, str, str]
) -> None:
    name = f"{tag}ana"
    for right, wrong in (("first \u00fc'\\", "second"), ("second", "first \u00fc'\\")):
        login = Login("sha256_password", secret=Hasher().hashed(right))
        want = Wanted(resource_id="1", name=name, previous=name, login=login)
        before = await target.observe([name], ())
        assert (
            await carry_out(target, plan([want], before, Policy(marker=target.marker)).steps) == ()
        )
        assert (await target.observe([name], ())).users[name].login == Login("sha256_password")
        assert await logs_in(endpoint, name, right)
        assert not await logs_in(endpoint, name, wrong)
        known = replace(want, applied_digest=login.digest)
        after = await target.observe([name], ())
        assert plan([known], after, Policy(marker=target.marker)).steps == ()


async def test_nobody_logs_in_after_the_end(
    target: Target, endpoint: Endpoint, tag: str, roles: tuple[str, str, str]
) -> None:
    name, hashed = f"{tag}bot", Hasher().hashed("right")
    for until, lets_in in ((1_600_000_000, False), (2_000_000_000, True), (None, True)):
        login = Login("sha256_password", until=until, secret=hashed)
        want = Wanted(resource_id="1", name=name, previous=name, login=login)
        before = await target.observe([name], ())
        assert (
            await carry_out(target, plan([want], before, Policy(marker=target.marker)).steps) == ()
        )
        assert (await target.observe([name], ())).users[name].login.until == until
        assert await logs_in(endpoint, name, "right") is lets_in


async def test_hostile_names_arrive_as_they_are(
    target: Target, sql: Sql, tag: str, roles: tuple[str, str, str]
) -> None:
    names = [tag + name for name in HOSTILE]
    login = Login("ssl_certificate", (("common_name", "'; DROP USER default; --"),))
    people = [
        Wanted(resource_id=name, name=name, roles=frozenset(roles[:1]), login=login)
        for name in names
    ]
    before = await target.observe(names, roles)
    policy = Policy(marker=target.marker, vocabulary=frozenset(roles[:2]))
    assert before.users == {}
    assert await carry_out(target, plan(people, before, policy).steps) == ()
    after = await target.observe(names, roles)
    assert after.users == dict.fromkeys(
        names, UserState(managed=True, roles=frozenset(roles[:1]), login=login.observable)
    )
    listed = await sql(f"SELECT name FROM system.users WHERE startsWith(name, '{tag}')")
    assert {name for (name,) in listed} == {*names, f"{tag}provisioner"}
    leavers = [replace(p, name=None, previous=p.name) for p in people]
    assert await carry_out(target, plan(leavers, after, policy).steps) == ()
    assert (await target.observe(names, roles)).users == {}


async def test_every_login_method_is_made_and_read_back(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    people = {f"{tag}{at}": login for at, login in enumerate(LOGINS)}
    assert await carry_out(target, [Create((name,), login) for name, login in people.items()]) == ()
    seen = (await target.observe(people, ())).users
    assert {name: state.login for name, state in seen.items()} == {
        name: login.observable for name, login in people.items()
    }


class Shape(NamedTuple):
    """What a role is, as the engine prints it."""

    create: str
    grants: set[object]
    policies: list[tuple[object, ...]]


async def shape(sql: Sql, role: str) -> Shape:
    name = quote_identifier(role)
    policies = f"""
        SELECT short_name, select_filter FROM system.row_policies
        WHERE short_name LIKE {quote_literal(f"%:{role}")} ORDER BY select_filter"""
    ((create,),) = await sql(f"SHOW CREATE ROLE {name}")
    grants = {grant for (grant,) in await sql(f"SHOW GRANTS FOR {name}")}
    return Shape(str(create), grants, await sql(policies))


async def test_a_defined_role_is_made_changed_and_made_again(
    target: Target, sql: Sql, definition: RoleDefinition
) -> None:
    name, marker = definition.name, target.marker
    policy = Policy(marker=marker)

    async def keep_in_shape(now: RoleDefinition, applied: dict[str, RoleDefinition]) -> Shape:
        actual = await target.observe((), [name], definitions=[now])
        planned = plan_roles({name: now}, actual, applied, policy)
        assert (planned.refusals, planned.foreign) == ((), ())
        assert await carry_out(target, planned.steps) == ()
        after = await target.observe((), [name], definitions=[now])
        assert after.roles[name].marked
        assert plan_roles({name: now}, after, {name: now}, policy).steps == ()
        return await shape(sql, name)

    whole = await keep_in_shape(definition, {})
    assert whole.grants == {
        f"GRANT SELECT ON analytics.* TO {name}",
        f"GRANT INSERT, SELECT(country, id) ON crm.customers TO {name}",
        f"GRANT SELECT ON crm.tab* TO {name}",
        f"GRANT SHOW ON logs*.* TO {name}",
        f"GRANT dictGet ON `a\\`b`.`it's` TO {name}",
        f"GRANT {marker} TO {name}",
    }
    assert "max_memory_usage = 10000000000 MIN 1 MAX 20000000000" in whole.create
    assert "max_execution_time = 1.5 CONST" in whole.create
    assert {condition for _, condition in whole.policies} == {
        "((tenant = 'acme') AND ((a = 1) OR (lower(`x y`) LIKE 'a%')))",
        "(1)",
    }
    ((quota,),) = await sql(f"SHOW CREATE QUOTA {quote_identifier(f'{marker}:{name}')}")
    assert "1 minute MAX queries = 10, execution_time = 1.5" in str(quota)
    less = replace(definition, grants=definition.grants[1:], settings=(), row_filters=(), quota=())
    narrowed = await keep_in_shape(less, {name: definition})
    assert f"GRANT SELECT(id) ON analytics.orders TO {name}" in narrowed.grants
    assert f"GRANT SELECT ON analytics.* TO {name}" not in narrowed.grants
    assert (narrowed.create, narrowed.policies) == (f"CREATE ROLE {name}", [])
    assert await keep_in_shape(definition, {name: less}) == whole
    await sql(f"DROP ROLE {quote_identifier(name)}")
    assert await keep_in_shape(definition, {name: definition}) == whole


async def test_a_grant_within_a_wider_one_goes_without_a_hole(
    target: Target, sql: Sql, tag: str, definition: RoleDefinition
) -> None:
    """A REVOKE on a table bites a hole into a grant on its database: that is granted again."""
    wide, narrow = (
        parse_privilege("SELECT ON analytics.*"),
        parse_privilege("SELECT(id) ON analytics.orders"),
    )
    role = f"{tag}reader"
    both, one = RoleDefinition(role, grants=(wide, narrow)), RoleDefinition(role, grants=(wide,))
    applied: dict[str, RoleDefinition] = {}
    for defined in (both, one):
        actual = await target.observe((), [role])
        steps = plan_roles({role: defined}, actual, applied, Policy(marker=target.marker)).steps
        assert await carry_out(target, steps) == ()
        applied = {role: defined}
    grants = await sql(f"SHOW GRANTS FOR {quote_identifier(role)}")
    assert (f"GRANT SELECT ON analytics.* TO {role}",) in grants
    assert "REVOKE" not in str(grants)


async def test_a_user_that_somebody_makes_meanwhile_is_not_touched_and_the_others_go_on(
    target: Target, sql: Sql, tag: str, roles: tuple[str, str, str]
) -> None:
    names = tuple(f"{tag}{name}" for name in ("a", "b", "race", "z"))
    race = names[2]
    await sql(f"CREATE USER {race} IDENTIFIED WITH no_authentication")
    steps: list[UserStep] = [
        Create(names, Login("kerberos")),
        Grant(names, roles[:2]),
        DefaultAll(names),
    ]
    failures = await carry_out(target, steps)
    assert [(f.name, f.code, f.error) for f in failures] == [
        (race, 493, f"user {race!r} exists and is not managed")
    ]
    users = dict((await target.observe(names, ())).users)
    assert users.pop(race) == UserState(managed=False)
    whole = UserState(managed=True, roles=frozenset(roles[:2]), login=Login("kerberos"))
    assert users == dict.fromkeys((names[0], names[1], names[3]), whole)


async def test_the_guilty_one_is_found_among_many(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    names = tuple(f"{tag}{at:03}" for at in range(100))
    guilty = {names[13], names[14], names[99]}
    innocent = tuple(name for name in names if name not in guilty)
    assert await carry_out(target, [Create(innocent, Login("kerberos"))]) == ()
    failures = await carry_out(target, [Grant(names, roles[:1]), DefaultAll(names)])
    assert {(f.name, f.code) for f in failures} == {(name, 511) for name in guilty}
    users = (await target.observe(names, ())).users
    assert users.keys() == set(innocent)
    assert all(state.roles and state.default_all for state in users.values())


async def test_who_failed_gets_nothing_more_but_still_loses(
    target: Target, sql: Sql, tag: str, roles: tuple[str, str, str]
) -> None:
    ana, eva = f"{tag}ana", f"{tag}eva"
    assert (
        await carry_out(target, [Create((ana,), Login("kerberos")), Grant((ana,), roles[:1])]) == ()
    )
    await sql(f"CREATE USER {eva} IDENTIFIED WITH no_authentication")
    failures = await carry_out(
        target,
        [
            Rename(ana, eva),
            Grant((eva,), roles[:2]),
            DefaultAll((eva,)),
            RevokeRoles((ana,), roles[:1]),
        ],
    )
    assert [(f.name, f.code) for f in failures] == [(ana, 493)]
    users = (await target.observe([ana, eva], ())).users
    assert users[eva] == UserState(managed=False)
    assert users[ana].roles == frozenset()


async def test_who_failed_to_lose_a_role_is_not_renamed(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    ana, eva = f"{tag}ana", f"{tag}eva"
    assert await carry_out(target, [Create((ana,), Login("kerberos"))]) == ()
    steps: list[Step] = [
        RevokeRoles((ana,), (f"{tag}missing",)),
        Rename(ana, eva),
        Grant((eva,), roles[:1]),
    ]
    failures = await carry_out(target, steps)
    assert [(f.name, f.code) for f in failures] == [(ana, 511)]
    users = (await target.observe([ana, eva], ())).users
    assert users.keys() == {ana}


async def test_a_role_that_others_made_meanwhile_gets_nothing(
    target: Target, sql: Sql, definition: RoleDefinition
) -> None:
    name = definition.name
    actual = await target.observe((), [name])
    steps = plan_roles({name: definition}, actual, {}, Policy(marker=target.marker)).steps
    await sql(f"CREATE ROLE {quote_identifier(name)}")
    failures = await carry_out(target, steps)
    assert [(f.name, f.is_role, f.code) for f in failures] == [(name, True, 493)]
    assert await sql(f"SHOW GRANTS FOR {quote_identifier(name)}") == []


async def test_nothing_is_sent_after_the_lease_is_lost(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    ana, bo = f"{tag}ana", f"{tag}bo"
    checks = iter([None, LeaseLost("acme@main", 7)])

    def check() -> None:
        if (lost := next(checks)) is not None:
            raise lost

    steps = [Create((name,), Login("kerberos")) for name in (ana, bo)]
    with pytest.raises(LeaseLost):
        await apply(target, steps, target.marker, check=check, log_comment="")
    assert (await target.observe([ana, bo], ())).users.keys() == {ana}


async def test_repeating_a_whole_plan_changes_nothing(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    """As after a crash whose answer was lost: CREATE finds its own users and goes on."""
    names = tuple(f"{tag}{at}" for at in range(5))
    steps: list[UserStep] = [
        Create(names, Login("kerberos")),
        Grant(names, roles[:1]),
        DefaultAll(names),
    ]
    assert await carry_out(target, steps) == ()
    once = await target.observe(names, ())
    assert await carry_out(target, steps) == ()
    assert await target.observe(names, ()) == once
    assert await carry_out(target, [Drop(names), Drop(names)]) == ()


async def test_thousands_of_users_are_observed_in_parts(
    target: Target, tag: str, roles: tuple[str, str, str]
) -> None:
    names = tuple(f"{tag}{at:05}@a-rather-long-domain.example" for at in range(2_000))
    assert await carry_out(target, [Create(names, Login("kerberos"))]) == ()
    assert (await target.observe(names, roles)).users.keys() == set(names)
    assert await carry_out(target, [Drop(names)]) == ()


async def test_a_right_that_the_account_lacks_concerns_the_statement(
    target: Target, tag: str, sql: Sql, roles: tuple[str, str, str]
) -> None:
    """497 parks whom it concerns; and the account can't reach beyond its grants."""
    ana = f"{tag}ana"
    assert await carry_out(target, [Create((ana,), Login("kerberos"))]) == ()
    await sql(f"GRANT SELECT ON secrets.* TO {ana}")
    policy = Policy(marker=target.marker)
    leaver = Wanted(resource_id="1", name=ana, previous=ana, active=False)
    before = await target.observe([ana], ())
    failures = await carry_out(target, plan([leaver], before, policy).steps)
    assert [(f.name, f.code) for f in failures] == [(ana, 497)]
    state = (await target.observe([ana], ())).users[ana]
    assert (state.door, state.has_privileges) == (Door.LOCKED, True)


@pytest.fixture
async def sessions(endpoint: Endpoint, tag: str) -> AsyncIterator[Pool]:
    """Yield what logs in as a test's own `ana`."""
    pool = Pool(replace(endpoint, user=f"{tag}ana"))
    yield pool
    await pool.close()


async def test_who_leaves_is_out_at_once_with_an_open_session_and_a_running_query(
    target: Target, sql: Sql, sessions: Pool, roles: tuple[str, str, str]
) -> None:
    ana, reader = sessions.endpoint.user, roles[0]
    await sql(f"GRANT SELECT ON system.role_grants TO {quote_identifier(reader)}")
    policy = Policy(marker=target.marker, vocabulary=frozenset(roles[:2]))
    person = Wanted(
        resource_id="1", name=ana, roles=frozenset({reader}), login=Login("no_password")
    )
    there = await target.observe([ana], roles)
    assert await carry_out(target, plan([person], there, policy).steps) == ()
    async with sessions.session() as idle, sessions.session() as busy, asyncio.timeout(30):
        assert await idle.query("SELECT granted_role_name FROM system.role_grants") != []
        query = asyncio.create_task(busy.query("SELECT count() FROM numbers(1000000000000)"))
        running = f"SELECT 1 FROM system.processes WHERE user = '{ana}'"
        while not await sql(running):  # noqa: ASYNC110 - the server tells it in no other way
            await asyncio.sleep(0.01)
        there = await target.observe([ana], roles)
        leaver = replace(person, previous=ana, active=False)
        assert await carry_out(target, plan([leaver], there, policy).steps) == ()
        with pytest.raises(TargetUnavailable) as killed:
            await query
        assert killed.value.code == 394
        with pytest.raises(StatementRefused) as refused:
            await idle.query("SELECT granted_role_name FROM system.role_grants")
        assert refused.value.code == 497
        with pytest.raises(TargetUnavailable) as shut:
            async with sessions.session():
                pass
        assert shut.value.code == 516


async def test_what_is_not_asked_for_is_not_told(
    target: Target, roles: tuple[str, str, str]
) -> None:
    assert await target.observe((), ()) == Actual(
        {}, {target.marker: (await target.observe((), roles)).roles[target.marker]}
    )
