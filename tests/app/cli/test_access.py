from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.config.rolemap import LIKE

if TYPE_CHECKING:
    from tests.app.cli.conftest import Site


async def mended(site: Site) -> None:
    assert site.cli("drift", "repair", "--tenant", site.tenant).code == 0


def brief(site: Site, rows: list[dict[str, Any]]) -> list[tuple[str, str, bool, bool]]:
    """Return (user, role, wanted, held) without the tenant's name."""
    return [
        (
            row["user"].removeprefix(f"{site.tenant}__"),
            row["role"].removeprefix(f"{site.tenant}_"),
            row["wanted"],
            row["held"],
        )
        for row in rows
    ]


async def test_somebody_is_shown_with_the_groups_that_give_each_role(site: Site) -> None:
    ana = await site.user("ana")
    await site.group("Analysts", await site.group("Berlin", ana))
    await mended(site)
    ran = site.cli("access", "show", site.tenant, "--user", "ANA", "--json")
    assert ran.code == 0
    analyst, employee = ran.json
    assert analyst == {
        "tenant": site.tenant,
        "target": "main",
        "user": site.name("ana"),
        "user_name": "ana",
        "resource_id": ana,
        "state": "active",
        "until": None,
        "door": "open",
        "role": f"{site.tenant}_analyst",
        "wanted": True,
        "held": True,
        "because": [{"mapping": "name:analysts", "groups": ["Analysts", "Berlin"], "until": None}],
    }
    assert employee["because"] == [{"mapping": "default_roles", "groups": [], "until": None}]
    for other in (ana, site.name("ana")):
        assert site.cli("access", "show", site.tenant, "--user", other, "--json").json == ran.json


async def test_a_role_is_shown_with_all_who_should_hold_it_or_do(site: Site) -> None:
    ana, bob = await site.user("ana"), await site.user("bob")
    await site.group("Analysts", ana, bob)
    cy = site.name("cy")
    await site.user("dan")
    await mended(site)
    role = f"{site.tenant}_analyst"
    await site.sql(f"CREATE USER `{cy}` IDENTIFIED WITH no_password")
    await site.sql(f"GRANT {role} TO `{cy}`, `{site.name('dan')}`")
    await site.sql(f"REVOKE {role} FROM `{site.name('bob')}`")
    rows = site.cli("access", "show", site.tenant, "--role", role, "--json").json
    assert sorted(brief(site, rows)) == [
        ("ana", "analyst", True, True),
        ("bob", "analyst", True, False),
        ("cy", "analyst", False, True),
        ("dan", "analyst", False, True),
    ]
    assert {row["state"] for row in rows} == {"active", "nobody"}


async def test_everybody_is_shown_with_who_is_locked_and_held(site: Site) -> None:
    await site.user("ana")
    await site.user("bob", active=False)
    await site.user("cy")
    await mended(site)
    assert site.cli("revoke", site.tenant, "cy", "--now", "--hold").code == 0
    rows = site.cli("access", "show", site.tenant, "--json").json
    seen = [(row["user_name"], row["state"], row["door"], row["role"]) for row in rows]
    assert seen == [
        ("ana", "active", "open", f"{site.tenant}_employee"),
        ("bob", "inactive", "locked", None),
        ("cy", "held", "locked", None),
    ]
    table = site.cli("access", "show", site.tenant).out
    assert "default_roles" in table


async def test_what_is_yet_to_be_applied_is_wanted_and_not_held(site: Site) -> None:
    await site.user("ana")
    (row,) = site.cli("access", "show", site.tenant, "--user", "ana", "--json").json
    assert (row["door"], row["wanted"], row["held"]) == ("missing", True, False)


async def test_a_target_that_is_down_is_told_beside_what_should_be(site: Site) -> None:
    ran = site.cli("access", "show", f"{site.tenant}-b", "--json")
    assert (ran.code, ran.json, ran.err.count("\n")) == (1, [], 1)
    assert "can't be looked at" in ran.err


def test_somebody_whom_nobody_knows_is_told(site: Site) -> None:
    ran = site.cli("access", "show", site.tenant, "--user", "nobody")
    assert (ran.code, ran.out) == (1, "neither the directory nor a target knows 'nobody'\n")


async def test_a_renamed_group_and_another_that_took_its_name_are_shown(site: Site) -> None:
    role = f"{site.tenant}_analyst"
    row = {"tenant": site.tenant, "mapping": "name:analysts", "name": "analysts", "roles": [role]}
    nobody: dict[str, Any] = {"group_id": None, "display_name": None, "taken_by": None}
    assert groups(site) == [row | nobody | {"state": "missing"}]
    first = await site.group("Analysts")
    linked = row | {"group_id": first, "display_name": "Analysts", "taken_by": None}
    assert groups(site) == [linked | {"state": "linked"}]
    stored = await site.directory.get("group", first)
    assert stored is not None
    document = stored.document | {"displayName": "Data People"}
    await site.directory.update("group", stored, document, site.origin)
    renamed = linked | {"display_name": "Data People", "state": "renamed"}
    assert groups(site) == [renamed]
    second = await site.group("ANALYSTS")
    assert groups(site) == [renamed | {"taken_by": second}]
    assert "Data People" in site.cli("access", "groups", site.tenant).out


async def test_groups_that_give_something_for_their_names_are_shown(site: Site) -> None:
    text = site.cli.config.read_text()
    pattern = f'[[tenants.{site.tenant}.groups]]\npattern = "ch-*"\nroles = ["{{1}}_reader"]\n'
    head, mark, tail = text.partition(f"[tenants.{site.tenant}.roles")
    site.cli.config.write_text(f"{head}{pattern}{mark}{tail}")
    made = await site.directory.create(
        "group", {"displayName": "ch-Sales"}, site.origin, role_keys=(LIKE,)
    )
    (_, row) = groups(site)
    assert row == {
        "tenant": site.tenant,
        "mapping": "pattern",
        "name": "ch-Sales",
        "group_id": made.id,
        "display_name": "ch-Sales",
        "state": "linked",
        "taken_by": None,
        "roles": ["Sales_reader"],
    }


def groups(site: Site) -> Any:
    ran = site.cli("access", "groups", site.tenant, "--json")
    assert ran.code == 0, ran.err
    return ran.json
