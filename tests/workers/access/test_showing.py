"""What SHOW prints, as values; the engine itself prints in tests/workers/clickhouse."""

from __future__ import annotations

import pytest

from workers.access.model import Door, Home, Login, Method, UserState
from workers.access.statements import cut_grant, parse_shown


def test_lines_become_users() -> None:
    created = [
        "CREATE USER `a b` IDENTIFIED WITH no_password",
        "CREATE USER `o\\'h\\`x\\n` IDENTIFIED WITH ldap SERVER 'co\\'rp' DEFAULT ROLE m, `r 1`",
        (
            "CREATE USER bo IDENTIFIED WITH kerberos VALID UNTIL '2000-01-01 00:00:00' HOST NONE"
            " DEFAULT ROLE NONE"
        ),
        (
            "CREATE USER cy IDENTIFIED WITH kerberos REALM 'R', ssl_certificate CN 'c', 'd'"
            " HOST LOCAL, IP '192.0.2.1', '10.0.0.0/8' DEFAULT DATABASE `d b`"
            " DEFAULT ROLE ALL EXCEPT r, s SETTINGS PROFILE `p`, PROFILE `q`"
        ),
    ]
    granted = [
        "GRANT `r 1`, m TO `a b`",
        "GRANT boss TO `a b` WITH ADMIN OPTION",
        "GRANT m TO bo",
    ]
    assert parse_shown(created, granted, "m") == {
        "a b": UserState(
            managed=True,
            roles=frozenset({"r 1", "boss"}),
            admin=frozenset({"boss"}),
            login=Login("no_password"),
        ),
        "o'h`x\n": UserState(
            managed=False,
            login=Login("ldap", (("server", "co'rp"),)),
            default_all=False,
            listed=frozenset({"r 1"}),
        ),
        "bo": UserState(managed=True, login=Login("kerberos"), door=Door.LOCKED, default_all=False),
        "cy": UserState(
            managed=False,
            login=Login(
                "kerberos",
                (("realm", "R"),),
                beside=(Method("ssl_certificate", (("common_name", "c"), ("common_name", "d"))),),
                hosts=("10.0.0.0/8", "192.0.2.1", "localhost"),
            ),
            dormant=frozenset({"r", "s"}),
            home=Home("d b", frozenset({"p", "q"})),
        ),
    }


@pytest.mark.parametrize(
    "created",
    [
        "CREATE USER a IDENTIFIED WITH plaintext_password",
        "CREATE USER a IDENTIFIED WITH kerberos VALID UNTIL '2040-01-01 00:00:00'",
        "CREATE USER a IDENTIFIED WITH no_password HOST NONE",
        "CREATE USER a IDENTIFIED WITH no_password HOST NAME 'x'",
        (
            "CREATE USER a IDENTIFIED WITH kerberos VALID UNTIL '2000-01-01 00:00:00', no_password"
            " HOST NONE"
        ),
        "CREATE USER a IDENTIFIED WITH no_password VALID UNTIL '2000-01-01 00:00:00'",
        "CREATE USER a IDENTIFIED WITH no_password VALID UNTIL '1999-12-31 23:00:00' HOST NONE",
        "CREATE USER a IDENTIFIED WITH no_password SETTINGS max_threads = 1",
        "CREATE USER a IDENTIFIED WITH no_password GRANTEES NONE",
        "CREATE USER a, b IDENTIFIED WITH no_password",
        "ATTACH USER a IDENTIFIED WITH no_password",
        "",
    ],
)
def test_a_user_that_is_not_like_ours_is_not_told(created: str) -> None:
    assert parse_shown([created], [], "m") is None


@pytest.mark.parametrize(
    "granted", ["GRANT SELECT ON db.* TO a", "GRANT NONE", "REVOKE r FROM a", "GRANT r TO a, b"]
)
def test_a_grant_that_is_not_of_roles_is_not_told(granted: str) -> None:
    assert parse_shown(["CREATE USER a IDENTIFIED WITH no_password"], [granted], "m") is None


@pytest.mark.parametrize(
    ("line", "cut"),
    [
        ("GRANT SELECT(id) ON db.* TO ana", "GRANT SELECT(id) ON db.*"),
        ("GRANT SELECT ON *.* TO `a TO b`", "GRANT SELECT ON *.*"),
        ("GRANT SELECT ON `x TO y`.t TO ana", "GRANT SELECT ON `x TO y`.t"),
        ("GRANT INSERT ON t.* TO ana WITH GRANT OPTION", "GRANT INSERT ON t.* WITH GRANT OPTION"),
        ("REVOKE SELECT(c) ON db.t FROM ana", "REVOKE SELECT(c) ON db.t"),
        ("GRANT CREATE USER ON `a.b`* TO ana", "GRANT CREATE USER ON `a.b`*"),
        ("GRANT r TO ana", None),
        ("GRANT `SELECT ON db.*`, r TO ana WITH ADMIN OPTION", None),
    ],
)
def test_a_privilege_is_cut_off_its_holder(line: str, cut: str | None) -> None:
    assert cut_grant(line) == cut
