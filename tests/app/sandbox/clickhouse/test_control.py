"""The control port: what a test asks the server to do wrong, it does, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession
from asynch.errors import NetworkError, OperationalError

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import OwnServer, Sql

GONE = "connection broke"


class Control:
    def __init__(self, http: ClientSession, port: int) -> None:
        self._http, self._url = http, f"http://127.0.0.1:{port}/rules"

    async def rule(self, act: str, **more: object) -> int:
        async with self._http.post(self._url, json={"act": act, **more}) as answer:
            assert answer.status == 201, await answer.text()
            number: int = (await answer.json())["id"]
            return number

    async def refusal(self, body: str) -> str:
        async with self._http.post(self._url, data=body) as answer:
            assert answer.status == 400
            return str((await answer.json())["error"])

    async def rules(self) -> list[dict[str, Any]]:
        async with self._http.get(self._url) as answer:
            rules: list[dict[str, Any]] = await answer.json()
            return rules

    async def clear(self, number: int | None = None) -> int:
        url = self._url if number is None else f"{self._url}/{number}"
        async with self._http.delete(url) as answer:
            return answer.status


@pytest.fixture
async def control(clickhouse_control: int) -> AsyncIterator[Control]:
    async with ClientSession() as http:
        control = Control(http, clickhouse_control)
        yield control
        await control.clear()


async def outcome(sql: Sql, text: str, **options: Any) -> int | str | None:
    """Return the code of the error, None if there is none, or that the connection broke."""
    try:
        return await sql.code(text, **options)
    except (EOFError, OSError, OperationalError, NetworkError):
        return GONE


async def users(sql: Sql, prefix: str) -> list[str]:
    rows = await sql(f"SELECT name FROM system.users WHERE startsWith(name, '{prefix}') ORDER BY 1")
    return [name for (name,) in rows]


async def test_an_error_is_answered_as_often_as_was_asked(sql: Sql, control: Control) -> None:
    await control.rule("fail", code=241, times=2, matching="^SELECT 7")
    assert [await outcome(sql, "SELECT 7") for _ in range(3)] == [241, 241, None]
    assert await control.rules() == []


async def test_a_rule_holds_for_the_statements_and_the_user_that_it_names(
    sql: Sql, control: Control
) -> None:
    await sql("CREATE USER OR REPLACE ctl_user")
    await control.rule("fail", code=241, matching=r"^select 7\b", user="ctl_user")
    assert await outcome(sql, "SELECT 7", user="ctl_user") == 241
    assert await outcome(sql, "SELECT 70", user="ctl_user") is None
    assert await outcome(sql, "SELECT 7") is None


FAULTS: dict[str, tuple[dict[str, Any], int | str, bool]] = {  # rule, outcome, whether it was done
    "error before": ({"act": "fail", "code": 999}, 999, False),
    "error after": ({"act": "fail", "code": 159, "when": "after"}, 159, True),
    "break before": ({"act": "break"}, GONE, False),
    "break after": ({"act": "break", "when": "after"}, GONE, True),
    "read-only storage": ({"act": "read_only"}, 495, False),
}


@pytest.mark.parametrize(("rule", "expected", "done"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_comes_before_the_effect_or_after_it(
    sql: Sql, control: Control, rule: dict[str, Any], expected: int | str, done: bool
) -> None:
    await sql("DROP USER IF EXISTS ctl_fault")
    await control.rule(**rule, times=1, matching="ctl_fault")
    assert await outcome(sql, "CREATE USER ctl_fault") == expected
    assert await users(sql, "ctl_fault") == (["ctl_fault"] if done else [])


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_slow_answer_waits_before_the_effect_or_after_it(
    sql: Sql, control: Control, when: str
) -> None:
    await sql("DROP USER IF EXISTS ctl_slow")
    number = await control.rule("slow", seconds=3600, when=when, matching="CREATE USER")
    waiting = asyncio.create_task(outcome(sql, "CREATE USER ctl_slow"))
    async with asyncio.timeout(20):
        while when == "after" and not await users(sql, "ctl_slow"):  # noqa: ASYNC110  the server's
            await asyncio.sleep(0.02)
    assert not waiting.done()
    assert await users(sql, "ctl_slow") == ([] if when == "before" else ["ctl_slow"])
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert await control.clear(number) == 204


async def test_refused_connections_are_closed_at_once_and_open_ones_go_on(
    sql: Sql, control: Control
) -> None:
    async with sql.connect() as open_already:
        number = await control.rule("refuse")
        assert await outcome(sql, "SELECT 1") == GONE
        assert await sql.on(open_already, "SELECT 1") == [(1,)]
        await control.clear(number)
        assert await outcome(sql, "SELECT 1") is None


STOPS = {
    "create": ("CREATE USER stop_a, stop_b, stop_c", ["stop_a"]),
    "create with clauses": (
        "CREATE USER stop_a, stop_b IDENTIFIED BY 'a, b' HOST NONE",
        ["stop_a"],
    ),
    "drop": ("DROP USER IF EXISTS stop_1, stop_2, stop_3", ["stop_2", "stop_3"]),
}


@pytest.mark.parametrize(("statement", "left"), STOPS.values(), ids=STOPS.keys())
async def test_a_statement_can_stop_between_two_entities(
    sql: Sql, control: Control, statement: str, left: list[str]
) -> None:
    await sql("DROP USER IF EXISTS stop_a, stop_b, stop_c, stop_1, stop_2, stop_3")
    if statement.startswith("DROP"):
        await sql("CREATE USER stop_1, stop_2, stop_3")
    await control.rule("stop", times=1)
    assert await outcome(sql, statement) == 999
    assert await users(sql, "stop_") == left
    await sql("DROP USER IF EXISTS stop_a, stop_b, stop_c, stop_1, stop_2, stop_3")


async def test_a_grant_can_stop_between_two_grantees(sql: Sql, control: Control) -> None:
    await sql("CREATE USER OR REPLACE ctl_g1, ctl_g2, ctl_g3")
    await sql("CREATE ROLE OR REPLACE ctl_role")
    await control.rule("stop", after=2, code=242)
    assert await outcome(sql, "GRANT ctl_role TO ctl_g1, ctl_g2, ctl_g3 WITH ADMIN OPTION") == 242
    rows = await sql(
        "SELECT user_name, with_admin_option FROM system.role_grants "
        "WHERE granted_role_name = 'ctl_role' ORDER BY 1"
    )
    assert rows == [("ctl_g1", 1), ("ctl_g2", 1)]
    await control.clear()
    assert await outcome(sql, "REVOKE ctl_role FROM ctl_g1, ctl_g2, ctl_g3") is None
    await sql("DROP USER ctl_g1, ctl_g2, ctl_g3")


async def test_what_a_stopped_statement_did_survives_a_kill(own_server: OwnServer) -> None:
    sql = own_server.start("--control-port", "0")
    async with ClientSession() as http:
        await Control(http, own_server.control_port).rule("stop", times=1)
    assert await outcome(sql, "CREATE USER ctl_kill_1, ctl_kill_2 IDENTIFIED BY 'p'") == 999
    own_server.kill()
    sql = own_server.start()
    assert await users(sql, "ctl_kill_") == ["ctl_kill_1"]
    assert await sql.code("SELECT 1", user="ctl_kill_1", password="p") is None


BAD_RULES = {
    "no JSON": ("x", "malformed"),
    "unknown act": ('{"act": "explode"}', "explode"),
    "unknown key": ('{"act": "refuse", "color": 1}', "color"),
    "no code": ('{"act": "fail"}', "code"),
    "negative wait": ('{"act": "slow", "seconds": -1}', "seconds"),
    "no regular expression": ('{"act": "break", "matching": "("}', "matching"),
}


@pytest.mark.parametrize(("body", "named"), BAD_RULES.values(), ids=BAD_RULES.keys())
async def test_a_bad_rule_is_refused_and_says_why(control: Control, body: str, named: str) -> None:
    assert named in await control.refusal(body)


async def test_rules_can_be_listed_and_taken_back(control: Control) -> None:
    number = await control.rule("fail", code=241, times=5)
    (rule,) = await control.rules()
    assert (rule["id"], rule["act"], rule["code"], rule["times"]) == (number, "fail", 241, 5)
    assert await control.clear(number) == 204
    assert await control.clear(number) == 404
    assert await control.rules() == []
