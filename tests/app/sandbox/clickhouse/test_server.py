"""The server as an unchanged client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asynch.connection import Connection
from asynch.errors import ServerException

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer


async def run(
    server: ClickHouseServer, sql: str, *, user: str = "default", password: str = ""
) -> list[Any]:
    async with (
        Connection(host=server.host, port=server.port, user=user, password=password) as connection,
        connection.cursor() as cursor,
    ):
        await cursor.execute(sql)
        return list(await cursor.fetchall())


async def test_a_password_opens_its_user_and_no_other_does(clickhouse: ClickHouseServer) -> None:
    await run(clickhouse, "CREATE USER ana IDENTIFIED WITH sha256_password BY 'right'")
    assert await run(clickhouse, "SELECT currentUser()", user="ana", password="right") == [("ana",)]
    with pytest.raises(ServerException) as refused:
        await run(clickhouse, "SELECT 1", user="ana", password="wrong")
    assert refused.value.code == 516
