from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.app.cli.conftest import Site


async def applied(site: Site) -> None:
    assert site.cli("drift", "repair", "--tenant", site.tenant).code == 0


async def test_a_plan_is_what_is_then_done(site: Site) -> None:
    await site.group("Analysts", await site.user("ana"))
    ran = site.cli("plan", site.tenant, "--json")
    assert (ran.code, ran.err) == (1, "")
    (plan,) = ran.json
    assert (plan["tenant"], plan["target"], plan["looked_at"]) == (site.tenant, "main", 1)
    ana, analyst = site.name("ana"), f"{site.tenant}_analyst"
    gained = {row["role"]: row["gains"] for row in plan["roles"]}
    assert gained == {analyst: [ana], f"{site.tenant}_employee": [ana]}
    assert plan["log_in"] == {"gains": [ana], "loses": []}
    assert {"table": "analytics.*", "access": "SELECT", "gains": [ana], "loses": []} in (
        plan["tables"]
    )
    counted = {row["action"]: row["statements"] for row in plan["actions"]}
    assert counted == {
        "create role": 3,
        "mark role": 2,
        "grant privilege": 2,
        "create": 1,
        "grant": 1,
        "default all": 1,
    }
    assert sum(counted.values()) == len(plan["statements"])
    name = f"'{site.tenant}_%'"
    assert await site.sql(f"SELECT name FROM system.users WHERE name LIKE {name}") == []
    await applied(site)
    ran = site.cli("plan", site.tenant)
    assert (ran.code, ran.out) == (
        0,
        f"{site.tenant}/main: nothing to do; resources looked at: 1\n",
    )


async def test_a_changed_file_can_be_tried_before_workers_read_it(site: Site) -> None:
    await site.group("Analysts", await site.user("ana"))
    await site.user("bob")
    await applied(site)
    changed = site.cli.config.read_text().replace("SELECT ON calendar.*", "SELECT ON calendar.days")
    site.cli.config.write_text(changed.replace('group = "Analysts"', 'group = "Writers"'))
    (plan,) = site.cli("plan", site.tenant, "--json").json
    ana, bob = site.name("ana"), site.name("bob")
    assert plan["roles"] == [{"role": f"{site.tenant}_analyst", "gains": [], "loses": [ana]}]
    assert plan["tables"] == [
        {"table": "analytics.*", "access": "SELECT", "gains": [], "loses": [ana]},
        {"table": "calendar.*", "access": "SELECT", "gains": [], "loses": [ana, bob]},
        {"table": "calendar.days", "access": "SELECT", "gains": [ana, bob], "loses": []},
    ]
    shown = site.cli("plan", site.tenant)
    assert shown.code == 1
    assert f"REVOKE `{site.tenant}_analyst` FROM `{ana}`;" in shown.out


async def test_a_plan_tells_what_the_brake_would_hold_and_the_lane_then_holds_it(
    site: Site,
) -> None:
    people = [await site.user(f"user-{number:02}") for number in range(15)]
    await site.group("Analysts", *people[:12])
    await applied(site)
    (plan,) = site.cli("plan", site.tenant, "--json").json
    assert plan["held"] is None
    changed = site.cli.config.read_text().replace('group = "Analysts"', 'group = "Writers"')
    site.cli.config.write_text(changed)
    (plan,) = site.cli("plan", site.tenant, "--json").json
    assert plan["held"] == {
        "names": [site.name(f"user-{number:02}") for number in range(12)],
        "log_ins_lost": 0,
        "log_ins": 15,
        "grants_lost": 12,
        "grants": 27,
    }
    told = site.cli("plan", site.tenant).out
    assert "what 12 users lose (0 of 15 log-ins, 12 of 27 grants), until `clickhouse-scim" in told
    assert site.cli("drift", "repair", "--tenant", site.tenant, "--deadline", "20s").code == 1
    (lane,) = site.cli("lane", "list", "--tenant", site.tenant, "--json").json
    assert (lane["state"], lane["held"]) == ("blocked", 12)
    assert site.cli("lane", "resume", site.tenant, "main", "--confirm").code == 0
    (plan,) = site.cli("plan", site.tenant, "--json").json
    assert (plan["held"], len(plan["roles"][0]["loses"])) == (None, 12)


async def test_a_plan_says_what_can_not_be_applied(site: Site) -> None:
    await site.sql(f"CREATE USER `{site.name('ana')}` IDENTIFIED WITH no_password")
    await site.user("ana")
    (plan,) = site.cli("plan", site.tenant, "--json").json
    assert [(row["name"], row["code"]) for row in plan["refused"]] == [(site.name("ana"), 493)]


async def test_a_plan_for_a_target_that_is_down_fails_in_one_line(site: Site) -> None:
    ran = site.cli("plan", f"{site.tenant}-b")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert ran.err.startswith(f"{site.tenant}-b/second can't be looked at: ")


def test_a_target_of_another_tenant_is_wrong_usage(site: Site) -> None:
    ran = site.cli("plan", site.tenant, "--target", "second")
    assert (ran.code, "has no target 'second'" in ran.err) == (2, True)
