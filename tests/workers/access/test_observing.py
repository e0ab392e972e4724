"""Rows of the observing query as values. The query itself runs in tests/workers/clickhouse."""

from __future__ import annotations

from typing import Any

import pytest

from workers.access.model import Actual, Door, Login, RoleState, UserState
from workers.access.statements import observe_query, parse_observation


def test_rows_become_users_and_roles() -> None:
    rows: list[tuple[Any, ...]] = [
        ("user", "ana", "", "open", 1, ["ldap"], ['{"server":"corp"}']),
        ("user", "bo", "", "locked", 0, ["no_password"], ["{}"]),
        ("role", "analyst", "", "", 0, [], []),
        ("role", "foreign", "", "", 0, [], []),
        ("user_role", "ana", "m", "", 0, [], []),
        ("user_role", "ana", "analyst", "", 0, [], []),
        ("user_role", "bo", "foreign", "", 0, [], []),
        ("role_role", "analyst", "m", "", 0, [], []),
        ("privilege", "bo", "", "", 0, [], []),
    ]
    assert parse_observation(rows, "m") == Actual(
        {
            "ana": UserState(
                managed=True,
                roles=frozenset({"analyst"}),
                login=Login("ldap", (("server", "corp"),)),
            ),
            "bo": UserState(
                managed=False,
                roles=frozenset({"foreign"}),
                login=Login("no_password"),
                door=Door.LOCKED,
                default_all=False,
                has_privileges=True,
            ),
        },
        {"analyst": RoleState(marked=True), "foreign": RoleState()},
    )


@pytest.mark.parametrize(
    ("methods", "params", "login"),
    [
        (["kerberos"], ['{"realm":""}'], Login("kerberos")),
        (["kerberos"], ['{"realm":"A"}'], Login("kerberos", (("realm", "A"),))),
        (
            ["ssl_certificate"],
            ['{"common_names":["b","a"]}'],
            Login("ssl_certificate", (("common_name", "a"), ("common_name", "b"))),
        ),
        (
            ["ssl_certificate"],
            ['{"subject_alt_names":["a"]}'],
            Login("ssl_certificate", (("subject_alt_name", "a"),)),
        ),
        (["http"], ["{}"], Login("http")),
        (
            ["ldap", "sha256_password"],
            ['{"server":"corp"}', "{}"],
            Login("ldap+sha256_password", (("server", "corp"),)),
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_login_is_read_as(methods: list[str], params: list[str], login: Login) -> None:
    rows = [("user", "ana", "", "open", 1, methods, params)]
    assert parse_observation(rows, "m").users["ana"].login == login


def test_names_stay_in_their_quotes() -> None:
    sql = observe_query(["x'; DROP USER default; --"], [], "m")
    assert "IN ('x\\'; DROP USER default; --')" in sql


def test_nothing_asked_is_still_one_query() -> None:
    assert "IN ()" not in observe_query([], [], "m")
