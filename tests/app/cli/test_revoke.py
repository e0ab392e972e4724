"""Break-glass: out of every server at once, whatever else is down, and not back until a release."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from app.directory.holds import Holds
from app.directory.link import Link
from app.errors import StatementRefused, TargetUnavailable
from workers.clickhouse.pool import Endpoint, Pool

if TYPE_CHECKING:
    from tests.app.cli.conftest import Site
    from tests.conftest import ClickHouseServer


async def mended(site: Site) -> None:
    assert site.cli("drift", "repair", "--tenant", site.tenant).code == 0


async def shown(site: Site, user_name: str) -> tuple[str, list[str]]:
    """Return how somebody logs in, and what it holds beside the marker."""
    name = site.name(user_name)
    ((created,),) = await site.sql(f"SHOW CREATE USER `{name}`")
    held = await site.sql(
        f"SELECT granted_role_name FROM system.role_grants WHERE user_name = '{name}'"
    )
    prefix = f"{site.tenant}_"
    return str(created), sorted(r.removeprefix(prefix) for (r,) in held if r != f"{prefix}managed")


def without_redis(site: Site) -> None:
    """Have commands find no Redis."""
    text = site.cli.config.read_text()
    start = text.index('url = "redis://')
    end = text.index("\n", start)
    site.cli.config.write_text(text[:start] + 'url = "redis://127.0.0.1:1/0"' + text[end:])


async def test_whoever_is_revoked_is_out_at_once(site: Site) -> None:
    await site.group("Analysts", await site.user("ana"))
    await mended(site)
    await site.sql(f"GRANT SELECT ON secret.* TO `{site.name('ana')}`")
    ran = site.cli("revoke", site.tenant, "ana", "--now", "--json")
    assert ran.code == 0
    (row,) = ran.json["targets"]
    assert (row["target"], row["user"], row["result"]) == ("main", site.name("ana"), "out")
    created, held = await shown(site, "ana")
    assert "HOST NONE" in created
    assert held == []
    assert "ana is not held" in ran.err


async def test_what_somebody_runs_is_killed(site: Site, clickhouse: ClickHouseServer) -> None:
    await site.user("ana")
    await mended(site)
    hosts = ((clickhouse.host, clickhouse.port),)
    pool = Pool(Endpoint(hosts=hosts, user=site.name("ana"), password="any"))

    async def run() -> None:
        async with pool.session() as session:
            await session.query("SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size=1")

    running = asyncio.create_task(run())
    sql = f"SELECT count() FROM system.processes WHERE user = '{site.name('ana')}'"
    async with asyncio.timeout(20):
        while await site.sql(sql) == [(0,)]:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)
    assert site.cli("revoke", site.tenant, "ana", "--now").code == 0
    with pytest.raises((StatementRefused, TargetUnavailable)):
        await running
    await pool.close()


async def test_a_hold_outlasts_repairs_until_the_release(site: Site, link: Link) -> None:
    ana = await site.user("ana")
    await mended(site)
    ran = site.cli("revoke", site.tenant, "ANA", "--now", "--hold")
    assert ran.code == 0
    assert f"until `clickhouse-scim release {site.tenant} ANA`" in ran.err
    await mended(site)
    assert "HOST NONE" in (await shown(site, "ana"))[0]
    (row,) = site.cli("release", site.tenant, "--json").json
    assert (row["user"], row["resource_id"]) == ("ana", ana)
    ran = site.cli("release", site.tenant, "ana")
    assert (ran.code, ran.out) == (0, "ana gets again what the identity provider says\n")
    await mended(site)
    assert await shown(site, "ana") == (
        f"CREATE USER {site.name('ana')} IDENTIFIED WITH no_password",
        ["employee"],
    )
    ran = site.cli("release", site.tenant, "ana")
    assert (ran.code, "nobody holds 'ana'" in ran.err) == (1, True)
    assert (await Holds(link, site.tenant).all()).holds == ()


async def test_without_redis_the_target_keeps_the_hold(site: Site) -> None:
    await site.user("ana")
    await mended(site)
    config = site.cli.config.read_text()
    without_redis(site)
    ran = site.cli("revoke", site.tenant, "Ana", "--now", "--hold", "--json")
    assert (ran.code, ran.json["held"]) == (0, "targets")
    assert ran.json["directory"].startswith("Redis did not answer")
    assert "becomes the tenant's when a worker meets it" in ran.err
    site.cli.config.write_text(config)
    await site.sql(f"ALTER USER `{site.name('ana')}` DEFAULT ROLE NONE")
    await mended(site)
    assert "HOST NONE" in (await shown(site, "ana"))[0]
    assert [row["user"] for row in site.cli("release", site.tenant, "--json").json] == ["ana"]
    assert site.cli("release", site.tenant, "ana").code == 0
    await mended(site)
    assert await shown(site, "ana") == (
        f"CREATE USER {site.name('ana')} IDENTIFIED WITH no_password",
        ["employee"],
    )


async def test_a_release_waits_for_targets_that_keep_the_hold(site: Site) -> None:
    await site.user("ana")
    await mended(site)
    whole = site.cli.config.read_text()
    both = whole.replace('targets = ["main"]', 'targets = ["main", "second"]')
    site.cli.config.write_text(both)
    without_redis(site)
    ran = site.cli("revoke", site.tenant, "ana", "--now", "--hold")
    assert ran.code == 1
    assert "second (127.0.0.1:9) was not reached" in ran.err
    site.cli.config.write_text(both)
    site.cli("drift", "repair", "--target", "main", "--tenant", site.tenant)
    ran = site.cli("release", site.tenant, "ana")
    assert ran.code == 1
    assert "nothing is released: run this again when they answer" in ran.err
    site.cli.config.write_text(whole)
    assert site.cli("release", site.tenant, "ana").code == 0


async def test_a_user_who_is_not_managed_is_left_alone(site: Site) -> None:
    name = site.name("ana")
    await site.sql(f"CREATE USER `{name}` IDENTIFIED WITH no_password")
    await site.sql(f"GRANT SELECT ON a.b TO `{name}`")
    before = await site.sql(f"SHOW GRANTS FOR `{name}`")
    ran = site.cli("revoke", site.tenant, name, "--now", "--json")
    assert (ran.code, ran.json["targets"][0]["result"]) == (1, "unmanaged")
    assert await site.sql(f"SHOW GRANTS FOR `{name}`") == before


def test_somebody_whom_nobody_knows_is_told(site: Site) -> None:
    ran = site.cli("revoke", site.tenant, "nobody", "--now")
    assert ran.code == 1
    assert "neither the directory nor a target knows 'nobody'" in ran.err


HOSTILE = ("o'hara", "a`b", "x\\y", "ana; DROP USER default", "\u00fcn\u00efc\u00f6d\u00e9", "a\nb")


@pytest.mark.parametrize("user", HOSTILE)
async def test_any_name_is_only_a_name(user: str, site: Site) -> None:
    await site.user(user)
    await mended(site)
    answers: list[Any] = []
    for _ in range(2):
        ran = site.cli("revoke", site.tenant, user, "--now", "--json")
        answers.append((ran.code, ran.json["targets"][0]["result"]))
        without_redis(site)
    assert answers == [(0, "out"), (0, "out")]


def test_now_has_to_be_said(site: Site) -> None:
    ran = site.cli("revoke", site.tenant, "ana")
    assert (ran.code, "--now" in ran.err) == (2, True)
