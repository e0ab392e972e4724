"""Several servers: statements ON CLUSTER, and one access storage for all."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession
from asynch.errors import ServerException

from app.sandbox.ports import choose_ports
from tests.app.sandbox.clickhouse.conftest import OwnServer

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import Sql

Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
USERS = "SELECT name FROM system.users WHERE startsWith(name, '{}') ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a cluster `main`. `start` takes more options for them."""

    servers: list[OwnServer]
    keeper: Path

    @property
    def hosts(self) -> list[str]:
        return [f"127.0.0.1:{server.port}" for server in self.servers]

    def start(self, index: int, *options: str) -> Sql:
        nodes = (word for host in self.hosts for word in ("--node", host))
        return self.servers[index].start(
            *("--cluster", "main", *nodes, "--keeper", str(self.keeper), *options)
        )

    def kill(self, index: int) -> None:
        self.servers[index].kill()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    ports = choose_ports(["node 0", "node 1"], {}, random.Random())
    servers = [OwnServer(tmp_path / name, port=port) for name, port in ports.items()]
    yield Nodes(servers, tmp_path / "keeper")
    for server in servers:
        server.kill()


async def names(sql: Sql, prefix: str) -> list[str]:
    return [name for (name,) in await sql(USERS.format(prefix))]


async def test_a_statement_on_cluster_runs_on_every_node_and_has_a_row_for_each(
    nodes: Nodes,
) -> None:
    first, second = nodes.start(0), nodes.start(1)
    rows = await first("CREATE USER ana ON CLUSTER main IDENTIFIED BY 'p'")
    assert sorted(row[:4] for row in rows) == sorted(
        ("127.0.0.1", server.port, 0, "") for server in nodes.servers
    )
    assert [row[4] for row in rows] == [1, 0]
    for sql in (first, second):
        assert await sql.code("SELECT 1", user="ana", password="p") is None
    assert await second("SELECT host_name, port, is_local FROM system.clusters ORDER BY 2") == [
        ("127.0.0.1", port, int(port == nodes.servers[1].port))
        for port in sorted(server.port for server in nodes.servers)
    ]
    assert await second("SELECT getMacro('cluster')") == [("main",)]


CLAUSES = {  # where the clause may stand
    "create": "CREATE USER on_1 ON CLUSTER main",
    "macro": "CREATE USER on_1 ON CLUSTER '{cluster}'",
    "if not exists": "CREATE USER IF NOT EXISTS on_1 ON CLUSTER `main` HOST ANY",
    "table": "CREATE TABLE on_table ON CLUSTER main (a Int8) ENGINE = Memory",
    "grant": "GRANT ON CLUSTER main SELECT ON default.* TO granted",
    "grant, after": "GRANT SELECT ON default.* TO granted ON CLUSTER main",
    "role": "GRANT ON CLUSTER main on_role TO granted WITH ADMIN OPTION",
    "policy": "CREATE ROW POLICY on_p ON CLUSTER main ON default.x FOR SELECT USING 1 TO granted",
    "alter": "ALTER USER granted ON CLUSTER main SETTINGS max_threads = 2",
}


async def test_the_clause_is_found_wherever_it_may_stand(nodes: Nodes) -> None:
    """One cluster for all cases: nodes take a second each to start."""
    both = [nodes.start(0), nodes.start(1)]
    for sql in both:
        await sql("CREATE USER granted")
        await sql("CREATE ROLE on_role")
    for case, statement in CLAUSES.items():
        assert len(await both[0](statement)) == 2, case
        await both[0]("DROP USER IF EXISTS on_1 ON CLUSTER main")
    for sql in both:
        assert await sql("SHOW GRANTS FOR granted") == [
            ("GRANT SELECT ON default.* TO granted",),
            ("GRANT on_role TO granted WITH ADMIN OPTION",),
        ]
        assert await sql("EXISTS on_table") == [(1,)]
        assert await sql("SELECT short_name FROM system.row_policies") == [("on_p",)]
        assert await sql("SHOW CREATE USER granted") == [
            ("CREATE USER granted IDENTIFIED WITH no_password SETTINGS max_threads = 2",)
        ]


async def test_an_error_of_one_host_is_the_statements_and_the_others_have_done_it(
    nodes: Nodes,
) -> None:
    first, second = nodes.start(0), nodes.start(1)
    await second("CREATE USER both")
    with pytest.raises(ServerException) as refused:
        await first("CREATE USER both ON CLUSTER main")
    assert refused.value.code == 493
    assert f"There was an error on [{nodes.hosts[1]}]: Code: 493" in str(refused.value)
    assert await names(first, "both") == ["both"]
    never = {"distributed_ddl_output_mode": "never_throw"}
    rows = await first("CREATE USER both ON CLUSTER main", settings=never)
    assert [row[2] for row in rows] == [493, 493]


async def test_on_cluster_takes_the_right_to_it_and_the_statements_own(nodes: Nodes) -> None:
    first = nodes.start(0)
    await first("CREATE USER scoped IDENTIFIED BY 'p'")
    who: dict[str, Any] = {"user": "scoped", "password": "p"}
    at_once = {"distributed_ddl_task_timeout": 0}
    await first("GRANT CREATE USER ON acme_* TO scoped")
    statement = "CREATE USER acme_1 ON CLUSTER main"
    assert await first.code(statement, **who) == 497
    await first("GRANT CLUSTER ON *.* TO scoped")
    assert await first.code("CREATE USER other ON CLUSTER main", **who) == 497
    assert await first(statement, settings=at_once, **who) == []
    assert await names(first, "acme_") == ["acme_1"]
    assert await first.code("CREATE USER x ON CLUSTER nowhere") == 701


async def test_a_node_that_is_down_runs_it_when_it_is_back(
    nodes: Nodes, eventually: Eventually
) -> None:
    first = nodes.start(0)
    brief = {"distributed_ddl_task_timeout": 1}
    with pytest.raises(ServerException) as late:
        await first("CREATE USER late ON CLUSTER main IDENTIFIED BY 'p'", settings=brief)
    assert late.value.code == 159
    assert "is not finished on 1 of 2 hosts" in str(late.value)
    assert "1 are inactive" in str(late.value)
    rows = await first(
        "CREATE USER later ON CLUSTER main",
        settings=brief | {"distributed_ddl_output_mode": "null_status_on_timeout"},
    )
    assert [row[2:4] for row in rows] == [(0, ""), (None, None)]
    rows = await first(
        "CREATE USER latest ON CLUSTER main",
        settings={"distributed_ddl_output_mode": "throw_only_active"},
    )
    assert [row[2:4] for row in rows] == [(0, ""), (None, None)]
    silent = {"distributed_ddl_output_mode": "none_only_active"}
    assert await first("DROP USER latest ON CLUSTER main", settings=silent) == []
    second = nodes.start(1)

    async def caught_up() -> bool:
        return await names(second, "late") == ["late", "later"]

    await eventually(caught_up)
    assert await second.code("SELECT 1", user="late", password="p") is None


async def test_a_paused_node_holds_the_statement_up_until_the_time_out(nodes: Nodes) -> None:
    first, _ = nodes.start(0), nodes.start(1)
    process = nodes.servers[1].process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        code = await first.code(
            "CREATE USER held ON CLUSTER main", settings={"distributed_ddl_task_timeout": 1}
        )
    finally:
        process.send_signal(signal.SIGCONT)
    assert code == 159


async def test_nodes_of_a_replicated_storage_have_the_same_users_and_roles(
    nodes: Nodes, eventually: Eventually
) -> None:
    first, second = nodes.start(0, "--replicated"), nodes.start(1, "--replicated")
    await first("CREATE ROLE shared")
    await first("CREATE USER rep IDENTIFIED BY 'p' DEFAULT ROLE shared")
    await second("CREATE USER rep2 IDENTIFIED BY 'q'")  # has caught up before it
    assert await second.code("CREATE USER rep") == 493
    for sql in (first, second):

        async def everything(sql: Sql = sql) -> bool:
            return await names(sql, "rep") == ["rep", "rep2"]

        await eventually(everything)
        assert await sql("SHOW GRANTS FOR rep") == [("GRANT shared TO rep",)]
        assert await sql.code("SELECT 1", user="rep", password="p") is None
        assert await sql.code("SELECT 1", user="rep2", password="q") is None
        storages = await sql("SELECT type FROM system.user_directories ORDER BY precedence")
        assert storages == [("users_xml",), ("replicated",)]
        assert await sql("SELECT DISTINCT storage FROM system.roles") == [("replicated",)]


async def test_on_cluster_repeats_what_is_replicated_unless_told_to_ignore_it(
    nodes: Nodes,
) -> None:
    first, second = nodes.start(0, "--replicated"), nodes.start(1, "--replicated")
    assert await first.code("CREATE USER twice ON CLUSTER main") == 493
    ignored = {"ignore_on_cluster_for_replicated_access_entities_queries": 1}
    assert await first("CREATE USER once ON CLUSTER main", settings=ignored) == []
    assert await second.code("CREATE USER once") == 493


async def test_a_node_learns_of_a_change_as_late_as_the_lag_says(
    nodes: Nodes, eventually: Eventually
) -> None:
    first = nodes.start(0, "--replicated")
    second = nodes.start(1, "--replicated", "--control-port", "0")
    rules = f"http://127.0.0.1:{nodes.servers[1].control_port}/rules"
    async with ClientSession() as http:
        await (await http.post(rules, json={"act": "lag", "seconds": 3600})).read()
        await first("CREATE USER lagging")
        await asyncio.sleep(0.1)
        assert await names(second, "lagging") == []
        await (await http.delete(rules)).read()

        async def there() -> bool:
            return await names(second, "lagging") == ["lagging"]

        await eventually(there)


async def test_a_replicated_storage_survives_the_death_of_every_node(nodes: Nodes) -> None:
    first, second = nodes.start(0, "--replicated"), nodes.start(1, "--replicated")
    await first("CREATE USER kept1 IDENTIFIED BY 'p'")
    await second("CREATE USER kept2 IDENTIFIED BY 'p'")
    nodes.kill(0)
    await second("ALTER USER kept1 IDENTIFIED BY 'q'")
    nodes.kill(1)
    first = nodes.start(0, "--replicated")
    assert await names(first, "kept") == ["kept1", "kept2"]
    assert await first.code("SELECT 1", user="kept1", password="q") is None
    assert await first.code("SELECT 1", user="kept1", password="p") == 516


async def test_what_only_its_sender_can_run_again_reaches_the_other_nodes(
    nodes: Nodes, eventually: Eventually
) -> None:
    """CURRENT GRANTS, a statement in another database, and one that stopped half-way."""
    first, second = nodes.start(0, "--replicated"), nodes.start(1, "--replicated")
    await first("CREATE DATABASE other")
    await first("CREATE USER giver IDENTIFIED BY 'p'")
    await first("CREATE USER taker1, taker2")
    await first("CREATE ROLE helper")
    await first("GRANT helper TO taker1")
    await first("GRANT SELECT ON a.b TO giver WITH GRANT OPTION")
    await first("GRANT CURRENT GRANTS ON a.b TO taker1", user="giver", password="p")
    await first("GRANT INSERT ON tab TO taker1", database="other")
    assert await first.code("SET DEFAULT ROLE helper TO taker1, taker2") == 512
    await first("CREATE USER done")

    async def reached() -> bool:
        return await names(second, "done") == ["done"]

    await eventually(reached)
    for shown in ("SHOW GRANTS FOR taker1", "SHOW CREATE USER taker1", "SHOW CREATE USER taker2"):
        assert await second(shown) == await first(shown)
    assert await second("SHOW GRANTS FOR taker1") == [
        ("GRANT SELECT ON a.b TO taker1",),
        ("GRANT INSERT ON other.tab TO taker1",),
        ("GRANT helper TO taker1",),
    ]
