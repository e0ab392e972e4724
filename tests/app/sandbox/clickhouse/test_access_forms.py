"""Forms that access statements can have beside the plain one, and what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asynch.errors import ServerException

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer, Sql


async def test_custom_settings_have_types_and_come_with_the_log_in(sql: Sql) -> None:
    await sql(
        "CREATE USER OR REPLACE forms_custom SETTINGS SQL_tenant = 'it\\'s', SQL_n = 5, "
        "SQL_none = NULL, max_threads = 3"
    )
    values = ", ".join(f"getSetting('SQL_{name}')" for name in ("tenant", "n", "none"))
    assert await sql(f"SELECT {values}", user="forms_custom") == [("it's", 5, None)]
    assert await sql.code("SELECT getSetting('SQL_tenant')") == 115
    assert await sql.code("CREATE USER forms_odd SETTINGS other_x = 1") == 115


async def test_a_row_policy_can_ask_for_a_custom_setting(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE forms_reader SETTINGS SQL_tenant = 'a'")
    await sql("CREATE TABLE forms_rows (tenant String) ENGINE = Memory")
    await sql("INSERT INTO forms_rows VALUES", [("a",), ("b",)])
    await sql(
        "CREATE ROW POLICY forms_policy ON forms_rows "
        "USING tenant = getSetting('SQL_tenant') TO forms_reader"
    )
    await sql("GRANT SELECT ON forms_rows TO forms_reader")
    assert await sql("SELECT * FROM forms_rows", user="forms_reader") == [("a",)]


async def test_statements_have_parameters_work_in_parallel_and_make_tokens(
    own_server: OwnServer,
) -> None:
    """All of it is there after a kill, and the secrets of none in plain text."""
    sql = own_server.start()
    async with sql.connect() as connection:
        await sql.on(connection, "SET param_who = 'a `b', param_secret = 'it\\'s secret'")
        await sql.on(connection, "CREATE USER {who:Identifier} IDENTIFIED BY {secret:String}")
        with pytest.raises(ServerException) as unknown:
            await sql.on(connection, "DROP USER {nobody:Identifier}")
    assert unknown.value.code == 456
    await sql("CREATE USER b PARALLEL WITH CREATE ROLE r PARALLEL WITH CREATE DATABASE d")
    both = "CREATE USER b IDENTIFIED BY 'x' PARALLEL WITH CREATE USER c IDENTIFIED BY 'y'"
    assert await sql.code(both) == 493
    asked = "CREATE TOKEN VALID UNTIL '2040-01-02 03:04:05'"
    assert await sql.code(asked, user="c", password="y") == 497
    await sql("GRANT CREATE TOKEN ON *.* TO c")
    ((token, until),) = await sql(asked, user="c", password="y")
    assert str(until) == "2040-01-02 03:04:05"
    own_server.kill()
    sql = own_server.start()
    assert await sql("SHOW USERS") == [("a `b",), ("b",), ("c",), ("default",)]
    assert await sql("SHOW ROLES") == [("r",)]
    for user, password in (("a `b", "it's secret"), ("b", ""), ("c", "y"), ("c", token)):
        assert await sql.code("SELECT 1", user=user, password=password) is None
    journal = (own_server.data_dir / "access.journal").read_text(errors="replace")
    assert token not in journal
    assert "secret'" not in journal


async def test_the_caller_is_meant_by_name_wherever_it_may_stand(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE forms_caller")
    await sql("GRANT ACCESS MANAGEMENT ON *.* TO forms_caller")
    await sql("CREATE USER OR REPLACE forms_x GRANTEES CURRENT_USER", user="forms_caller")
    ((shown,),) = await sql("SHOW CREATE USER forms_x")
    assert shown.endswith("GRANTEES forms_caller")
