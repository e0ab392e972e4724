from __future__ import annotations

import random
from typing import Any

import pytest
from asynch.connection import Connection

from app.config.privileges import PRIVILEGES
from app.sandbox.ports import choose_ports
from app.sandbox.servers import (
    PROVISIONER,
    answers,
    existing_server,
    own_url,
    provisioner_statements,
    run_statements,
    without_existing_server,
)
from app.sandbox.session import parse_address
from app.sandbox.store import SandboxError


async def query(url: str, password: str, *statements: str) -> list[Any]:
    """Run `statements` as the workers do; return the rows of the last."""
    at = parse_address(url)
    connection = Connection(host=at.host, port=at.port, user=PROVISIONER, password=password)
    await connection.connect()
    try:
        cursor = connection.cursor()
        for statement in statements:
            await cursor.execute(statement)
        rows = await cursor.fetchall()
        return [] if rows is None else list(rows)
    finally:
        await connection.close()


async def test_the_provisioner_can_do_all_that_workers_do(server_url: str) -> None:
    await run_statements(server_url, provisioner_statements("first"))
    await run_statements(server_url, provisioner_statements("second"))  # again, another password
    await query(
        server_url,
        "second",
        "CREATE ROLE IF NOT EXISTS scim_managed, analyst",
        "ALTER ROLE analyst SETTINGS max_threads = 2",
        f"GRANT {', '.join(PRIVILEGES)} ON *.* TO analyst",
        "GRANT SELECT(id) ON crm.customers TO analyst",
        "CREATE ROW POLICY IF NOT EXISTS p ON crm.customers FOR SELECT USING 1 TO analyst",
        "CREATE USER IF NOT EXISTS ana IDENTIFIED WITH no_password",
        "GRANT scim_managed, analyst TO ana",
        "GRANT INSERT ON crm.* TO ana",
        "ALTER USER ana IDENTIFIED WITH no_authentication HOST NONE",
        "ALTER USER ana RENAME TO bea",
        "REVOKE ALL ON *.* FROM bea",
        "KILL QUERY WHERE user = 'bea' ASYNC",
    )
    held = await query(
        server_url,
        "second",
        "SELECT granted_role_name FROM system.role_grants WHERE user_name='bea'",
    )
    assert sorted(role for (role,) in held) == ["analyst", "scim_managed"]
    grants = "SELECT count() FROM system.grants WHERE user_name = 'bea'"
    assert await query(server_url, "second", grants) == [(0,)]
    await query(
        server_url,
        "second",
        "REVOKE ALL EXCEPT scim_managed FROM bea",
        "DROP USER bea",
        "DROP ROW POLICY p ON crm.customers",
        "DROP ROLE analyst",
    )


async def test_the_provisioner_is_no_administrator(server_url: str) -> None:
    await run_statements(server_url, provisioner_statements("secret"))
    with pytest.raises(Exception, match="Not enough privileges"):
        await query(server_url, "secret", "CREATE ROLE r", "GRANT CREATE USER ON *.* TO r")


async def test_a_server_that_is_not_there_is_told() -> None:
    port = choose_ports(["server"], {}, random.Random())["server"]
    url = own_url(port)
    assert not await answers(url)
    with pytest.raises(SandboxError, match=rf"ClickHouse at 127\.0\.0\.1:{port} did not do it"):
        await run_statements(url, ["SELECT 1"])


async def test_a_refused_statement_is_told(server_url: str) -> None:
    with pytest.raises(SandboxError, match="Syntax error"):
        await run_statements(server_url, ["CREATE NONSENSE"])


def test_an_existing_server_is_taken_where_it_is_named() -> None:
    url = "clickhouse://root:p@ch.example:9000"
    assert existing_server({"CLICKHOUSE_URL": url}) == url
    assert existing_server({"CLICKHOUSE_URL": ""}) is None
    assert existing_server({}) is None


@pytest.mark.parametrize(
    "url",
    ["ch.example", "http://root:secret@ch.example:8123", "clickhouse://root:secret/x@ch.example"],
)
def test_an_existing_server_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SandboxError, match="CLICKHOUSE_URL names no server") as told:
        existing_server({"CLICKHOUSE_URL": url})
    assert "secret" not in str(told.value)
    assert told.value.__cause__ is None


def test_children_do_not_see_the_administrators_password() -> None:
    environ = {"CLICKHOUSE_URL": "clickhouse://root:p@ch.example", "PATH": "/bin"}
    assert without_existing_server(environ) == {"PATH": "/bin"}


def test_an_account_on_an_existing_server_may_come_from_anywhere() -> None:
    """Behind a container's port the server does not see a loopback address."""
    assert all("HOST ANY" in sql for sql in provisioner_statements("p", local=False)[:2])
    assert all("HOST LOCAL" in sql for sql in provisioner_statements("p")[:2])
