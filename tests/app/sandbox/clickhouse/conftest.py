"""What the sandbox's own tests share: a client, and servers that a test may kill."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asynch.connection import Connection
from asynch.errors import ServerException

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer

WAIT_S = 20


@dataclass(frozen=True, slots=True)
class Sql:
    """`await sql("SELECT 1")` on a connection of its own; `sql.connect()` for one that is kept."""

    port: int
    host: str = "127.0.0.1"
    admin: tuple[str, str] = ("default", "")  # who asks where nobody else is named, and how

    def connect(self, user: str = "", password: str = "", **options: Any) -> Connection:
        if not user:
            user, password = self.admin
        return Connection(host=self.host, port=self.port, user=user, password=password, **options)

    async def __call__(
        self,
        text: str,
        rows: list[Any] | None = None,
        *,
        settings: dict[str, Any] | None = None,
        query_id: str | None = None,
        **who: Any,
    ) -> list[Any]:
        async with self.connect(**who) as connection:
            return await self.on(connection, text, rows, settings=settings, query_id=query_id)

    async def on(
        self,
        connection: Connection,
        text: str,
        rows: list[Any] | None = None,
        *,
        settings: dict[str, Any] | None = None,
        query_id: str | None = None,
    ) -> list[Any]:
        async with connection.cursor() as cursor:
            cursor.set_settings(settings or {})  # type: ignore[no-untyped-call]
            if query_id is not None:
                cursor.set_query_id(query_id)  # type: ignore[no-untyped-call]
            await cursor.execute(text, rows)
            return list(await cursor.fetchall())

    async def code(self, text: str, **options: Any) -> int | None:
        """Return the code of the error that the statement, or its log-in, ends with; None if ok."""
        try:
            await self(text, **options)
        except ServerException as error:
            return error.code
        return None


@pytest.fixture
def sql(clickhouse: ClickHouseServer) -> Sql:
    return Sql(clickhouse.port)


@pytest.fixture
def http_url(clickhouse: ClickHouseServer) -> str:
    return f"http://{clickhouse.host}:{clickhouse.http_port}"


@pytest.fixture
def clickhouse_control(clickhouse: ClickHouseServer) -> int:
    return clickhouse.control_port


@dataclass(slots=True)
class OwnServer:
    """A server that one test has for itself."""

    data_dir: Path
    process: subprocess.Popen[str] | None = None
    port: int = 0
    ports: dict[str, int] = field(default_factory=dict)  # `ready` and those of --…-port options

    @property
    def control_port(self) -> int:
        return self.ports["control"]

    @property
    def log(self) -> Path:
        """What it writes to stderr."""
        return self.data_dir.with_suffix(".log")

    def start(self, *options: str) -> Sql:
        command = [sys.executable, "-m", "app.sandbox.clickhouse", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data_dir), *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        asked = 1 + sum(option.endswith("-port") for option in options)
        lines = "".join(self.process.stdout.readline() for _ in range(asked))
        self.ports = {
            name: int(port) for name, port in re.findall(r"sandbox (\w+) on \S*:(\d+)", lines)
        }
        assert len(self.ports) == asked, lines
        self.port = self.ports["ready"]
        return Sql(self.port)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.end()

    def end(self) -> int:
        """Wait until it has ended by itself; return its exit code."""
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(WAIT_S)
        self.process.stdout.close()
        self.process = None
        return code


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[OwnServer]:
    server = OwnServer(tmp_path / "data")
    yield server
    server.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not await condition():  # noqa: ASYNC110  another process decides
                await asyncio.sleep(0.02)

    return wait
