from __future__ import annotations

from typing import TYPE_CHECKING

from app.directory.directory import Directory
from app.directory.lanes import LaneStore
from app.directory.link import Link

if TYPE_CHECKING:
    from tests.app.cli.conftest import Site


async def mended(site: Site) -> None:
    """Have everything applied, without a worker."""
    ran = site.cli("drift", "repair", "--tenant", site.tenant)
    assert (ran.code, ran.err) == (0, "")


async def test_a_repair_without_a_worker_brings_everything_onto_the_target(site: Site) -> None:
    ana = await site.user("ana")
    await site.group("Analysts", ana)
    checked = site.cli("drift", "check", "--tenant", site.tenant)
    assert checked.code == 1
    assert "2 events are yet to be applied" in checked.err
    ran = site.cli("drift", "repair", "--tenant", site.tenant, "--json")
    assert ran.code == 0
    assert {row["mended"] for row in ran.json} == {True}
    shown = await site.sql(f"SHOW GRANTS FOR `{site.name('ana')}`")
    assert f"{site.tenant}_analyst" in str(shown)
    checked = site.cli("drift", "check", "--tenant", site.tenant)
    assert (checked.code, checked.out) == (0, "nothing differs; lanes checked: 1\n")


async def test_a_check_says_who_differs_and_a_repair_mends_it(site: Site) -> None:
    await site.group("Analysts", await site.user("ana"))
    await mended(site)
    await site.sql(f"REVOKE {site.tenant}_analyst FROM `{site.name('ana')}`")
    ran = site.cli("drift", "check", "--tenant", site.tenant, "--json")
    assert (ran.code, ran.err) == (1, "")
    row = {
        "tenant": site.tenant,
        "target": "main",
        "kind": "user",
        "name": site.name("ana"),
        "what": "roles",
        "expected": f"{site.tenant}_analyst, {site.tenant}_employee",
        "actual": f"{site.tenant}_employee",
        "kept": False,
        "since": None,
    }
    assert ran.json == [row]
    ran = site.cli("drift", "repair", "--tenant", site.tenant, "--json")
    assert (ran.code, ran.json) == (0, [row | {"mended": True}])


async def test_a_difference_that_workers_only_report_is_known_since_when(
    site: Site, link: Link
) -> None:
    await site.user("ana")
    await mended(site)
    await site.sql(f"REVOKE {site.tenant}_employee FROM `{site.name('ana')}`")
    key = f"user/roles/{site.name('ana')}"
    await LaneStore(link, site.tenant, "main").looked("", {key: 1_000})
    (row,) = site.cli("drift", "check", "--tenant", site.tenant, "--json").json
    assert row["since"] == "1970-01-01T00:00:01.000Z"


async def test_what_others_gave_differs_and_stays_or_goes_by_policy(site: Site) -> None:
    await site.user("ana")
    await mended(site)
    foreign, ana = f"{site.tenant}_foreign", site.name("ana")
    await site.sql(f"CREATE ROLE {foreign}")
    await site.sql(f"GRANT {foreign} TO `{ana}`")
    await site.sql(f"GRANT SELECT ON a.b TO `{ana}`")
    ran = site.cli("drift", "check", "--tenant", site.tenant, "--json")
    assert ran.code == 1
    assert [(row["what"], row["actual"], row["kept"]) for row in ran.json] == [
        ("foreign privilege", "SELECT ON a.b", True),
        ("foreign role", foreign, True),
    ]
    ran = site.cli("drift", "repair", "--tenant", site.tenant, "--json")
    assert (ran.code, {row["mended"] for row in ran.json}) == (0, {False})
    text = site.cli.config.read_text()
    site.cli.config.write_text(
        text.replace("default_roles =", 'foreign_grants = "revoke"\n        default_roles =')
    )
    ran = site.cli("drift", "repair", "--tenant", site.tenant, "--json")
    assert (ran.code, {row["mended"] for row in ran.json}) == (0, {True})
    assert foreign not in str(await site.sql(f"SHOW GRANTS FOR `{ana}`"))


async def test_what_can_not_be_mended_is_told(site: Site) -> None:
    await site.user("ana")
    await mended(site)
    await site.sql(f"REVOKE {site.tenant}_managed FROM `{site.name('ana')}`")
    ran = site.cli("drift", "repair", "--tenant", site.tenant, "--json")
    assert (ran.code, [row["mended"] for row in ran.json]) == (1, [False])
    assert "1 can't be applied; see `clickhouse-scim deadletter list" in ran.err
    for _ in range(2):  # also once it is a dead letter
        (row,) = site.cli("drift", "check", "--tenant", site.tenant, "--json").json
        assert (row["name"], row["what"]) == (site.name("ana"), "refused")
    await site.sql(f"GRANT {site.tenant}_managed TO `{site.name('ana')}`")
    await mended(site)


async def test_a_target_that_is_down_is_told_and_the_others_are_checked(site: Site) -> None:
    ran = site.cli("drift", "check")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith(f"{site.tenant}-b/second can't be checked: ")
    ran = site.cli("drift", "repair", "--deadline", "5s")
    assert ran.code == 1
    assert f"{site.tenant}-b/second is not done: " in ran.err


async def test_a_paused_lane_is_not_mended(site: Site, link: Link) -> None:
    await site.user("ana")
    await LaneStore(link, site.tenant, "main").pause()
    ran = site.cli("drift", "repair", "--tenant", site.tenant)
    assert ran.code == 1
    assert f"it is paused; `clickhouse-scim lane resume {site.tenant} main`" in ran.err


def test_a_lane_that_there_is_not_is_wrong_usage(site: Site) -> None:
    ran = site.cli("drift", "check", "--target", "mian")
    assert (ran.code, "did you mean main?" in ran.err) == (2, True)


async def test_a_role_that_another_tenant_makes_is_there_in_time(site: Site, link: Link) -> None:
    """The tenant that gives it is mended first, and finds it missing."""
    other = f"a{site.tenant}"
    text = site.cli.config.read_text()
    mine = f"""
        [tenants.{other}]
        targets = ["main"]
        user_name = "{{tenant}}__{{userName}}"
        marker_role = "{other}_managed"
        default_roles = ["{site.tenant}_analyst"]
        authentication = {{ method = "no_password" }}
        """
    head, mark, tail = text.partition(f"[tenants.{site.tenant}]")
    site.cli.config.write_text(head + mine + mark + tail)
    user = {"userName": "ana", "active": True}
    await Directory(link, other, ["main"]).create("user", user, site.origin)
    ran = site.cli("drift", "repair", "--target", "main", "--json")
    assert (ran.code, ran.err) == (0, "")
    shown = str(await site.sql(f"SHOW GRANTS FOR `{other}__ana`"))
    assert f"{site.tenant}_analyst" in shown
