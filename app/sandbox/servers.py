"""The sandbox's ClickHouse servers, and the account that workers use on them.

A server is a program that speaks the native protocol on a loopback port and has a `default`
account without a password; what it is beyond that, nobody here asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asynch.connection import Connection
from asynch.errors import ClickHouseException

from app.child import Program
from app.config.privileges import PRIVILEGES
from app.sandbox.store import SandboxError

PROVISIONER = "provisioner"
_STATEMENT_S = 10.0

# What an account needs that makes users and roles; found by trying on ClickHouse 26.9. SHOW ACCESS
# opens system.users and system.roles, but not system.role_grants, system.grants and
# system.processes (which KILL QUERY reads as its caller): here SELECT ON *.* below opens those.
_RIGHTS = (
    "CREATE USER, ALTER USER, DROP USER ON *.*",
    "CREATE ROLE, ALTER ROLE, DROP ROLE, ROLE ADMIN ON *.*",
    "CREATE ROW POLICY, ALTER ROW POLICY, DROP ROW POLICY ON *.*",
    "SHOW ACCESS, KILL QUERY ON *.*",
)


def server_program(
    name: str, port: int, folder: Path, log: Path, environ: Mapping[str, str]
) -> Program:
    """Return the server for target `name`. It runs in a folder of its own: the engine reads a
    `config.xml` out of its working directory, and there should be none of somebody else's.
    """
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)]
    return Program(
        name=f"clickhouse {name}",
        arguments=[sys.executable, "-m", "app.sandbox.clickhouse", *arguments],
        folder=folder,
        log=log,
        environ=environ,
    )


def provisioner_statements(password: str) -> list[str]:
    """Return what makes the workers' account, or brings it up to date. May run any number of times.

    It can hand out what role definitions may hand out, and so also take that away again.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    identified = f"{PROVISIONER} IDENTIFIED WITH sha256_hash BY '{digest}' HOST LOCAL"
    return [
        f"CREATE USER IF NOT EXISTS {identified}",
        f"ALTER USER {identified}",
        *(f"GRANT {right} TO {PROVISIONER}" for right in _RIGHTS),
        f"GRANT {', '.join(PRIVILEGES)} ON *.* TO {PROVISIONER} WITH GRANT OPTION",
    ]


async def answers(port: int) -> bool:
    """Whether the server answers a query of `default`."""
    try:  # a look at the port first: asynch logs a warning for each refused connection
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(SandboxError):
        await run_statements(port, ["SELECT 1"])
        return True
    return False


async def run_statements(port: int, statements: Sequence[str]) -> None:
    """Run `statements` as `default`. Raises SandboxError, also if the server is not there."""
    connection = Connection(host="127.0.0.1", port=port, user="default", connect_timeout=2)
    try:
        await _within(connection, connection.connect())
        async with connection.cursor() as cursor:
            for statement in statements:
                await _within(connection, cursor.execute(statement))
    except (ClickHouseException, OSError, EOFError) as error:
        raise SandboxError(f"ClickHouse on port {port} did not do it: {error}") from error
    finally:
        with contextlib.suppress(Exception):
            await connection.close()


async def _within(connection: Connection, work: Any) -> None:
    """Await `work`. asynch can't be cancelled in time: its socket is cut, then its task ended."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=_STATEMENT_S)
    if not done:
        with contextlib.suppress(AttributeError):
            connection._connection.writer.writer.transport.abort()  # type: ignore[attr-defined] # noqa: SLF001
        task.cancel()
        await asyncio.wait([task], timeout=1)
        raise SandboxError(f"ClickHouse did not answer within {_STATEMENT_S:g} s")
    task.result()
