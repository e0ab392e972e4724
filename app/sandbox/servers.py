"""The sandbox's ClickHouse servers, and the account that workers use on them.

A server is the one of CLICKHOUSE_URL; else a program that speaks the native protocol on a loopback
port and has a `default` account without a password: a `clickhouse` on PATH, else the sandbox
server. Which of them it is, nobody beyond this module asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.child import Program
from app.config.privileges import PRIVILEGES
from app.sandbox.installed import server_command
from app.sandbox.session import Refused, Unreachable, log_in, parse_address
from app.sandbox.store import SandboxError

PROVISIONER = "provisioner"
LEDGER_USER, LEDGER_DATABASE = "ledger", "scim"
_VARIABLE = "CLICKHOUSE_URL"

# What an account needs that makes users and roles; found by trying on ClickHouse 26.9. SHOW ACCESS
# opens system.users and system.roles, but not system.role_grants, system.grants and
# system.processes (which KILL QUERY reads as its caller): here SELECT ON *.* below opens those.
_RIGHTS = (
    "CREATE USER, ALTER USER, DROP USER ON *.*",
    "CREATE ROLE, ALTER ROLE, DROP ROLE, ROLE ADMIN ON *.*",
    "CREATE ROW POLICY, ALTER ROW POLICY, DROP ROW POLICY ON *.*",
    "CREATE QUOTA, ALTER QUOTA, DROP QUOTA ON *.*",
    "SHOW ACCESS, KILL QUERY ON *.*",
)


def existing_server(environ: Mapping[str, str]) -> str | None:
    """Return CLICKHOUSE_URL, the administrator's way into a server that runs already, if it is set.

    Raises SandboxError where it can't be one.
    """
    url = environ.get(_VARIABLE)
    if not url:
        return None
    try:
        parse_address(url)
    except ValueError as error:
        raise SandboxError(f"{_VARIABLE} names no server: {error}") from None
    return url


def without_existing_server(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` for a child, which has no use for an administrator's password."""
    return {name: value for name, value in environ.items() if name != _VARIABLE}


def own_url(port: int) -> str:
    """Return the administrator's way into a server that the sandbox has started."""
    return f"clickhouse://default:@127.0.0.1:{port}/default"


def own_http_url(port: int) -> str:
    """Return the address of such a server's HTTP interface."""
    return f"http://default:@127.0.0.1:{port}"


def server_program(
    clickhouse: str | None,
    name: str,
    port: int,
    http_port: int,
    *,
    folder: Path,
    log: Path,
    environ: Mapping[str, str],
    options: Sequence[str] = (),
) -> Program:
    """Return the server `name`: the program `clickhouse`, else the sandbox server with `options`.

    It runs in a folder of its own: the engine reads a `config.xml` out of its working directory,
    and there should be none of somebody else's.
    """
    if clickhouse is not None:
        command = server_command(clickhouse, port, http_port, folder)
        # ClickHouse's own watchdog would stand between the supervisor and the server.
        environ = {**environ, "CLICKHOUSE_WATCHDOG_ENABLE": "0"}
    else:
        ports = ["--port", str(port), "--http-port", str(http_port)]
        arguments = ["--host", "127.0.0.1", *ports, "--data-dir", str(folder), *options]
        command = [sys.executable, "-m", "app.sandbox.clickhouse", *arguments]
    return Program(
        name=f"clickhouse {name}", arguments=command, folder=folder, log=log, environ=environ
    )


def provisioner_statements(password: str, *, local: bool = True) -> list[str]:
    """Return what makes the workers' account, or brings it up to date. May run any number of times.

    It can hand out what role definitions may hand out, and so also take that away again. `local`:
    it logs in from the server's own machine only; a container's server sees other addresses.
    """
    return [
        *_account(PROVISIONER, password, local=local),
        *(f"GRANT {right} TO {PROVISIONER}" for right in _RIGHTS),
        f"GRANT {', '.join(PRIVILEGES)} ON *.* TO {PROVISIONER} WITH GRANT OPTION",
    ]


def ledger_statements(password: str, *, local: bool = True) -> list[str]:
    """Return what makes the ledger's database, and the account that writes and reads it."""
    rights = "SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW"
    return [
        f"CREATE DATABASE IF NOT EXISTS {LEDGER_DATABASE}",
        *_account(LEDGER_USER, password, local=local),
        f"GRANT {rights} ON {LEDGER_DATABASE}.* TO {LEDGER_USER}",
    ]


def _account(name: str, password: str, *, local: bool) -> tuple[str, str]:
    digest = hashlib.sha256(password.encode()).hexdigest()
    hosts = "LOCAL" if local else "ANY"
    identified = f"{name} IDENTIFIED WITH sha256_hash BY '{digest}' HOST {hosts}"
    return f"CREATE USER IF NOT EXISTS {identified}", f"ALTER USER {identified}"


async def answers(url: str) -> bool:
    """Whether the server answers a query of the account in `url`."""
    with contextlib.suppress(SandboxError):
        await run_statements(url, ["SELECT 1"])
        return True
    return False


async def run_statements(url: str, statements: Sequence[str]) -> None:
    """Run `statements` with the account in `url`. Raises SandboxError; no server is one, too."""
    try:
        async with log_in(url) as session:
            for statement in statements:
                await session.rows(statement)
    except (Refused, Unreachable) as error:
        at = parse_address(url)
        raise SandboxError(f"ClickHouse at {at.host}:{at.port} did not do it: {error}") from error
