"""Defined roles compared with what the engine really has, after others have been at them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.config.privileges import PRIVILEGES, Level, parse_privilege
from tests.workers.clickhouse.test_apply import carry_out
from workers.access.model import Interval, Policy, RoleDefinition, RowFilter, Setting
from workers.access.reach import GROUPS
from workers.access.roles import RolePlan, plan_roles
from workers.access.simulate import simulate
from workers.access.statements import quote_identifier
from workers.clickhouse.pool import Endpoint, Pool
from workers.clickhouse.target import Target

if TYPE_CHECKING:
    from tests.workers.clickhouse.conftest import Run

    Sql = Run


@pytest.fixture
def administrator(admin: Pool, target: Target) -> Target:
    """Return the target as an account sees it that may take what others gave."""
    return Target(admin, target.marker, target._clock)


async def look(
    target: Target, definition: RoleDefinition, applied: RoleDefinition, *, revoke: bool = False
) -> RolePlan:
    policy = Policy(marker=target.marker, revoke_foreign=revoke)
    names = [definition.name, *definition.parents]
    actual = await target.observe((), names, definitions=[definition])
    return plan_roles({definition.name: definition}, actual, {definition.name: applied}, policy)


async def make(target: Target, definition: RoleDefinition) -> None:
    planned = await look(target, definition, definition)
    assert await carry_out(target, planned.steps) == ()
    assert (await look(target, definition, definition)) == RolePlan((), (), ())


CHANGED = {
    "a grant was taken": "REVOKE SELECT ON analytics.* FROM {r}",
    "a column was taken": "REVOKE SELECT(id) ON crm.customers FROM {r}",
    "a hole was made": "REVOKE SELECT(secret) ON analytics.orders FROM {r}",
    "a table was taken out": "REVOKE SELECT ON crm.table1 FROM {r}",
    "a part of a group was taken": "REVOKE SHOW COLUMNS ON logs*.* FROM {r}",
    "a setting was changed": "ALTER ROLE {r} MODIFY SETTING max_memory_usage = 5",
    "a bound was widened": "ALTER ROLE {r} MODIFY SETTING max_memory_usage MAX 30000000000",
    "a setting was opened": "ALTER ROLE {r} ADD SETTING max_execution_time = 1.5",
    "all settings went": "ALTER ROLE {r} SETTINGS NONE",
    "a filter was changed": "ALTER ROW POLICY {p} ON analytics.orders FOR SELECT USING 1",
    "a filter was made permissive": "ALTER ROW POLICY {p} ON analytics.items AS PERMISSIVE",
    "a filter went": "DROP ROW POLICY {p} ON analytics.orders",
    "a filter is for nobody": "ALTER ROW POLICY {p} ON analytics.orders TO NONE",
    "a quota was changed": "ALTER QUOTA {p} FOR INTERVAL 1 minute MAX queries = 11",
    "a quota got an interval": "ALTER QUOTA {p} FOR INTERVAL 1 day MAX errors = 1",
    "a quota went": "DROP QUOTA {p}",
    "a parent was taken": "REVOKE {b} FROM {r}",
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
async def test_what_others_change_is_mended(
    target: Target, sql: Sql, definition: RoleDefinition, tag: str, change: str
) -> None:
    base = f"{tag}base"
    await sql(f"CREATE ROLE {quote_identifier(base)}")
    whole = replace(definition, parents=(base,))
    await make(target, whole)
    names = {"r": whole.name, "p": f"{target.marker}:{whole.name}", "b": base}
    await sql(change.format_map({key: quote_identifier(name) for key, name in names.items()}))
    planned = await look(target, whole, whole)
    assert planned.steps
    assert planned.foreign == ()
    assert await carry_out(target, planned.steps) == ()
    assert await look(target, whole, whole) == RolePlan((), (), ())


GIVEN = {
    "a grant": ("GRANT SELECT ON other.* TO {r}", "SELECT ON other.*"),
    "a wider grant": ("GRANT SELECT ON *.* TO {r}", "SELECT ON *.*"),
    "a column": ("GRANT SELECT(x) ON other.t TO {r}", "SELECT(x) ON other.t"),
    "a group with a wanted part": ("GRANT SHOW ON *.* TO {r}", "SHOW ON *.*"),
    "everything on a database": ("GRANT ALTER TABLE ON analytics.* TO {r}", "ALTER TABLE ON "),
    "the right to hand on": (
        "GRANT SELECT ON analytics.* TO {r} WITH GRANT OPTION",
        "SELECT ON analytics.* WITH GRANT OPTION",
    ),
    "access itself": ("GRANT CREATE USER ON acme_* TO {r}", "CREATE USER ON acme_*"),
    "a source": ("GRANT S3 ON *.* TO {r}", "READ ON S3"),
    "a setting": ("ALTER ROLE {r} ADD SETTING max_block_size = 5", "max_block_size"),
    "a profile": ("ALTER ROLE {r} ADD PROFILE 'default'", "PROFILE default"),
    "a role": ("GRANT {b} TO {r}", "base"),
}


@pytest.mark.parametrize("case", GIVEN)
async def test_what_others_give_is_told_or_taken(
    target: Target, administrator: Target, sql: Sql, definition: RoleDefinition, case: str
) -> None:
    given, told = GIVEN[case]
    tag = definition.name.removesuffix("analyst")
    base = f"{tag}base"
    await sql(f"CREATE ROLE {quote_identifier(base)}")
    await make(target, definition)
    names = {"r": quote_identifier(definition.name), "b": quote_identifier(base)}
    await sql(given.format_map(names))
    reported = await look(target, definition, definition)
    assert reported.steps == ()
    assert any(told in foreign.what for foreign in reported.foreign)
    planned = await look(administrator, definition, definition, revoke=True)
    assert planned.foreign == ()
    assert await carry_out(administrator, planned.steps) == ()
    assert await look(target, definition, definition) == RolePlan((), (), ())


async def test_the_marker_of_another_tenant_is_nothing_foreign(
    target: Target, sql: Sql, definition: RoleDefinition, tag: str
) -> None:
    await make(target, definition)
    other = f"{tag}other_marker"
    await sql(f"CREATE ROLE {quote_identifier(other)}")
    await sql(f"GRANT {quote_identifier(other)} TO {quote_identifier(definition.name)}")
    policy = Policy(marker=target.marker, markers=frozenset({target.marker, other}))
    actual = await target.observe((), [definition.name], definitions=[definition])
    record = {definition.name: definition}
    assert plan_roles(record, actual, record, policy) == RolePlan((), (), ())


def _on(name: str) -> str:
    level = PRIVILEGES[name]
    return {Level.GLOBAL: "*.*", Level.DATABASE: "db.*"}.get(level, "db.t")


@pytest.mark.parametrize("name", PRIVILEGES)
async def test_every_privilege_is_seen_where_it_was_given(
    sql: Sql, admin: Pool, target: Target, tag: str, name: str
) -> None:
    """Also beside one that covers it, and beside parts of it."""
    own = Target(admin, target.marker, target._clock)
    wide = "*.*" if PRIVILEGES[name] is Level.GLOBAL else "db.*"
    texts = dict.fromkeys([f"{name} ON {_on(name)}", f"{name} ON {wide}", "SELECT ON db.*"])
    grants = tuple(map(parse_privilege, texts))
    for some in (grants[:1], grants):
        await make(own, RoleDefinition(f"{tag}{len(some)}", grants=some))


async def test_the_groups_are_those_of_the_server(sql: Sql) -> None:
    rows = await sql("SELECT toString(privilege), toString(parent_group) FROM system.privileges")
    parts: dict[str, set[str]] = {}
    for part, group in rows:
        parts.setdefault(str(group), set()).add(str(part))
    assert {group: set(its) for group, its in GROUPS.items()} == {
        group: parts[group] for group in GROUPS
    }
    covering = {"ALL", "ALTER", "CREATE", "DROP", "CREATE ARBITRARY TEMPORARY TABLE"}
    for name in PRIVILEGES:
        group = next(group for group, its in parts.items() if name in its)
        assert group in GROUPS.keys() | covering


async def test_the_model_of_a_shape_is_what_the_engine_does(
    administrator: Target, definition: RoleDefinition
) -> None:
    """So that a dry run says what a run would do."""
    target = administrator
    other = RoleDefinition(
        definition.name,
        grants=(parse_privilege("SELECT ON analytics.*"), parse_privilege("INSERT ON crm.*")),
        settings=(Setting("max_threads", 3),),
        row_filters=(RowFilter("analytics", "items", "2"),),
        quota=(Interval(60, (("queries", 1),)),),
    )
    await make(target, definition)
    for old, new in ((definition, other), (other, definition)):
        names = [new.name]
        before = await target.observe((), names, definitions=[new])
        policy = Policy(marker=target.marker)
        steps = plan_roles({new.name: new}, before, {new.name: old}, policy).steps
        imagined = simulate(steps, before)
        assert plan_roles({new.name: new}, imagined, {new.name: new}, policy).steps == ()
        assert await carry_out(target, steps) == ()
        assert await look(target, new, new) == RolePlan((), (), ())


async def test_an_account_without_the_right_is_refused(
    endpoint: Endpoint, target: Target, sql: Sql, definition: RoleDefinition
) -> None:
    """What is beyond the printed rights fails with 497, and is told of that role alone."""
    await make(target, definition)
    await sql(f"GRANT SELECT ON other.* TO {quote_identifier(definition.name)}")
    planned = await look(target, definition, definition, revoke=True)
    failures = await carry_out(target, planned.steps)
    assert [(one.name, one.is_role, one.code) for one in failures] == [(definition.name, True, 497)]


async def test_shapes_of_a_moment_ago_are_believed_until_somebody_asks_afresh(
    target: Target, sql: Sql, definition: RoleDefinition
) -> None:
    await make(target, definition)

    async def has_grants(*, fresh: bool) -> bool:
        actual = await target.observe((), [definition.name], definitions=[definition], fresh=fresh)
        shape = actual.roles[definition.name].shape
        return shape is not None and bool(shape.grants)

    await sql(f"REVOKE ALL ON *.* FROM {quote_identifier(definition.name)}")
    assert await has_grants(fresh=False)
    assert not await has_grants(fresh=True)
    assert not await has_grants(fresh=False)
