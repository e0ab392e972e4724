from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.app.cli.conftest import Site


async def an_old_user(site: Site, user_name: str) -> None:
    """Make a user by hand, with a role and a privilege of its own."""
    name = site.name(user_name)
    await site.sql(f"CREATE ROLE IF NOT EXISTS {site.tenant}_old")
    await site.sql(f"CREATE USER `{name}` IDENTIFIED WITH sha256_password BY 'x'")
    await site.sql(f"GRANT {site.tenant}_old TO `{name}`")
    await site.sql(f"GRANT SELECT ON old.* TO `{name}`")


async def grants(site: Site, user_name: str) -> list[str]:
    return sorted(str(g) for (g,) in await site.sql(f"SHOW GRANTS FOR `{site.name(user_name)}`"))


async def test_a_plan_says_who_would_be_adopted_and_changes_nothing(site: Site) -> None:
    for name in ("ana", "bob"):
        await an_old_user(site, name)
    ana = await site.user("ana")
    await site.user("cy")
    before = await grants(site, "ana")
    ran = site.cli("adopt", "plan", site.tenant, "main", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [(r["name"], r["resource_id"], r["verdict"]) for r in ran.json] == [
        (site.name("ana"), ana, "adopt")
    ]
    assert await grants(site, "ana") == before


async def test_an_adopted_user_gets_its_roles_and_is_given_back_as_it_was(site: Site) -> None:
    await an_old_user(site, "ana")
    ana = site.name("ana")
    await site.group("Analysts", await site.user("ana"))
    before = await grants(site, "ana")
    ran = site.cli("adopt", "apply", site.tenant, "main", ana, "--json")
    assert (ran.code, ran.json, ran.err) == (
        0,
        [{"tenant": site.tenant, "target": "main", "name": ana, "done": True}],
        "",
    )
    held = " ".join(await grants(site, "ana"))
    for role in ("analyst", "employee", "managed", "old"):
        assert f"{site.tenant}_{role}" in held
    (row,) = site.cli("adopt", "plan", site.tenant, "main", "--json").json
    assert row["verdict"] == "adopted"
    ran = site.cli("adopt", "undo", site.tenant, "main", "--all", "--json")
    assert (ran.code, [row["done"] for row in ran.json]) == (0, [True])
    assert await grants(site, "ana") == before
    assert site.cli("adopt", "undo", site.tenant, "main", ana).code == 0
    assert await grants(site, "ana") == before
    ran = site.cli("adopt", "undo", site.tenant, "main", site.name("bob"))
    assert (ran.code, "was not adopted" in ran.err) == (1, True)


async def test_all_stands_for_everybody_who_can_be_adopted(site: Site) -> None:
    for name in ("ana", "bob"):
        await an_old_user(site, name)
        await site.user(name)
    ran = site.cli("adopt", "apply", site.tenant, "main", "--all", "--json")
    assert (ran.code, [row["name"] for row in ran.json]) == (
        0,
        [site.name("ana"), site.name("bob")],
    )


async def test_a_name_that_nobody_has_is_told(site: Site) -> None:
    ran = site.cli("adopt", "apply", site.tenant, "main", "nobody")
    assert (ran.code, "no resource has the name of a user 'nobody'" in ran.err) == (1, True)


def test_somebody_has_to_be_named(site: Site) -> None:
    for order in ("apply", "undo"):
        for extra in ((), ("ana", "--all")):
            ran = site.cli("adopt", order, site.tenant, "main", *extra)
            assert (ran.code, "name one NAME or more, or give --all" in ran.err) == (2, True)
