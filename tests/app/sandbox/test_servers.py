from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asynch.connection import Connection

from app.child import Child
from app.config.privileges import PRIVILEGES
from app.sandbox.ports import choose_ports
from app.sandbox.servers import (
    PROVISIONER,
    answers,
    provisioner_statements,
    run_statements,
    server_program,
)
from app.sandbox.store import SandboxError


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[int]:
    port = choose_ports(["server"], {}, random.Random())["server"]
    program = server_program("main", port, folder, folder / "log", os.environ)
    child = Child(program, say=lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.run())
        try:
            async with asyncio.timeout(30):
                while not await answers(port):  # noqa: ASYNC110 - another process tells no event
                    await asyncio.sleep(0.02)
            yield port
        finally:
            await child.stop()


async def query(port: int, password: str, *statements: str) -> list[Any]:
    """Run `statements` as the workers do; return the rows of the last."""
    connection = Connection(host="127.0.0.1", port=port, user=PROVISIONER, password=password)
    await connection.connect()
    try:
        cursor = connection.cursor()
        for statement in statements:
            await cursor.execute(statement)
        rows = await cursor.fetchall()
        return [] if rows is None else list(rows)
    finally:
        await connection.close()


async def test_the_provisioner_can_do_all_that_workers_do(tmp_path: Path) -> None:
    async with server(tmp_path) as port:
        await run_statements(port, provisioner_statements("first"))
        await run_statements(port, provisioner_statements("second"))  # again, another password
        await query(
            port,
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
            port, "second", "SELECT granted_role_name FROM system.role_grants WHERE user_name='bea'"
        )
        assert sorted(role for (role,) in held) == ["analyst", "scim_managed"]
        grants = "SELECT count() FROM system.grants WHERE user_name = 'bea'"
        assert await query(port, "second", grants) == [(0,)]
        await query(
            port,
            "second",
            "REVOKE ALL EXCEPT scim_managed FROM bea",
            "DROP USER bea",
            "DROP ROW POLICY p ON crm.customers",
            "DROP ROLE analyst",
        )


async def test_the_provisioner_is_no_administrator(tmp_path: Path) -> None:
    async with server(tmp_path) as port:
        await run_statements(port, provisioner_statements("secret"))
        with pytest.raises(Exception, match="Not enough privileges"):
            await query(port, "secret", "CREATE ROLE r", "GRANT CREATE USER ON *.* TO r")


async def test_a_server_that_is_not_there_is_told() -> None:
    port = choose_ports(["server"], {}, random.Random())["server"]
    assert not await answers(port)
    with pytest.raises(SandboxError, match=f"ClickHouse on port {port} did not do it"):
        await run_statements(port, ["SELECT 1"])


async def test_a_refused_statement_is_told(tmp_path: Path) -> None:
    async with server(tmp_path) as port:
        with pytest.raises(SandboxError, match="Syntax error"):
            await run_statements(port, ["CREATE NONSENSE"])
