"""A target whose servers keep users each for itself: all get everything, none waits for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.app.cli.conftest import Ran, Site
    from tests.conftest import ClickHouseServer

from app.directory.directory import Directory
from app.directory.link import Link
from workers.clickhouse.pool import Endpoint, Pool


def spread(site: Site, *servers: ClickHouseServer) -> list[str]:
    """Have the target be these servers; return the names of its lanes."""
    hosts = [f"{server.host}:{server.port}" for server in servers]
    text = site.cli.config.read_text()
    start = text.index("hosts = [", text.index("[targets.main]"))
    end = text.index("\n", start)
    listed = ", ".join(f'"{host}"' for host in hosts)
    per_node = "" if "per_node" in text else '\n        storage = "per_node"'
    site.cli.config.write_text(f"{text[:start]}hosts = [{listed}]{per_node}{text[end:]}")
    return [f"main@{host}" for host in hosts]


async def create(link: Link, site: Site, lanes: list[str], user_name: str) -> None:
    directory = Directory(link, site.tenant, lanes)
    document = {"userName": user_name, "active": True}
    await directory.create("user", document, site.origin)


async def grants(server: ClickHouseServer, name: str) -> str:
    pool = Pool(Endpoint(hosts=((server.host, server.port),), user="default"))
    try:
        async with pool.session() as session:
            return str(await session.query(f"SHOW GRANTS FOR `{name}`"))
    finally:
        await pool.close()


def mended(site: Site) -> Ran:
    return site.cli("drift", "repair", "--tenant", site.tenant, "--deadline", "20s", "--json")


async def test_every_server_gets_everything_and_a_new_one_too(
    site: Site, link: Link, clickhouse: ClickHouseServer, own_clickhouse: ClickHouseServer
) -> None:
    lanes = spread(site, clickhouse)
    await create(link, site, lanes, "ana")
    assert mended(site).code == 0
    spread(site, clickhouse, own_clickhouse)
    ran = site.cli("drift", "check", "--tenant", site.tenant, "--json")
    assert {row["target"] for row in ran.json} == {f"main@127.0.0.1:{own_clickhouse.port}"}
    assert mended(site).code == 0
    for server in (clickhouse, own_clickhouse):
        assert f"{site.tenant}_employee" in await grants(server, site.name("ana"))


async def test_a_server_that_is_down_holds_no_other_up(
    site: Site, link: Link, clickhouse: ClickHouseServer, own_clickhouse: ClickHouseServer
) -> None:
    lanes = spread(site, clickhouse, own_clickhouse)
    await create(link, site, lanes, "ana")
    own_clickhouse.stop()
    ran = mended(site)
    assert (ran.code, "its target does not answer" in ran.err) == (1, True)
    assert f"{site.tenant}_employee" in await grants(clickhouse, site.name("ana"))
    (row,) = site.cli("lane", "list", "--tenant", site.tenant, "--json").json
    assert (row["target"], row["last_seq"], row["applied_seq"]) == ("main", 1, 0)
    assert [node["applied_seq"] for node in row["nodes"]] == [1, 0]
    own_clickhouse.start()
    site.cli("lane", "resume", site.tenant, "main")
    assert mended(site).code == 0
    (row,) = site.cli("lane", "list", "--tenant", site.tenant, "--json").json
    assert row["applied_seq"] == 1
    assert f"{site.tenant}_employee" in await grants(own_clickhouse, site.name("ana"))


async def test_a_revocation_reaches_every_server(
    site: Site, link: Link, clickhouse: ClickHouseServer, own_clickhouse: ClickHouseServer
) -> None:
    await create(link, site, spread(site, clickhouse, own_clickhouse), "ana")
    assert mended(site).code == 0
    ran = site.cli("revoke", site.tenant, "ana", "--now", "--json")
    assert (ran.code, [row["result"] for row in ran.json["targets"]]) == (0, ["out", "out"])


def test_the_name_in_the_file_stands_for_all_servers(
    site: Site, clickhouse: ClickHouseServer
) -> None:
    spread(site, clickhouse)
    paused = site.cli("lane", "pause", site.tenant, "main", "--json").json
    assert [row["target"] for row in paused] == [f"main@127.0.0.1:{clickhouse.port}"]
    ran = site.cli("plan", site.tenant, "--target", "mian")
    assert (ran.code, "did you mean main?" in ran.err) == (2, True)
    assert site.cli("provisioner-grants", site.tenant, "main").code == 0
    assert site.cli("access", "show", site.tenant, "--target", "main").code == 0


def test_one_server_that_was_paused_shows_in_the_row_of_all(site: Site) -> None:
    text = site.cli.config.read_text()
    start = text.index("hosts = [", text.index("[targets.main]"))
    hosts = 'hosts = ["127.0.0.1:8", "127.0.0.1:9"]\nstorage = "per_node"'
    site.cli.config.write_text(text[:start] + hosts + text[text.index("\n", start) :])
    assert site.cli("lane", "pause", site.tenant, "main@127.0.0.1:9").code == 0
    (row,) = site.cli("lane", "list", "--tenant", site.tenant, "--json").json
    assert (row["state"], [node["state"] for node in row["nodes"]]) == (
        "paused",
        ["idle", "paused"],
    )
