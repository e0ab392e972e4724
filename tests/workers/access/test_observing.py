"""Rows of the observing query as values. The query itself runs in tests/workers/clickhouse."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from workers.access.model import Actual, Door, Home, Login, Method, RoleState, UserState
from workers.access.statements import observe_query, parse_observation
from workers.access.statements.quoting import HELD_AT

NOW, PAST, FUTURE = 1_800_000_000, 946_684_800, 2_000_000_000


def user(
    name: str,
    ips: list[str],
    methods: list[str],
    params: list[str],
    ends: list[int],
    *,
    default_all: int = 1,
    names: Sequence[str] = (),
    but: Sequence[str] = (),
    listed: Sequence[str] = (),
    database: str = "",
) -> tuple[str, str, str]:
    """Return the row of a user as the server writes it."""
    none: list[str] = []
    detail = (
        ips,
        [*names],
        none,
        none,
        methods,
        params,
        ends,
        default_all,
        [*but],
        [*listed],
        database,
        "id",
        NOW,
    )
    return ("user", name, json.dumps(detail))


def test_rows_become_users_and_roles() -> None:
    rows = [
        user(
            "ana",
            ["10.0.0.0/8"],
            ["ldap"],
            ['{"server":"corp"}'],
            [0],
            names=["localhost"],
            but=["night"],
            database="d",
        ),
        user("bo", [], ["no_password"], ["{}"], [PAST], default_all=0, listed=["foreign"]),
        ("role", "analyst", ""),
        ("role", "foreign", ""),
        ("user_role", "ana", "m"),
        ("user_role", "ana", "analyst"),
        ("user_role", "bo", "foreign"),
        ("role_role", "analyst", "m"),
        ("role", "night", ""),
        ("role", "sub", ""),
        ("user_admin", "ana", "night"),
        ("role_role", "sub", "boss"),
        ("role_role", "boss", "root"),
        ("manages", "root", "ALL ON *.*"),
        ("profile", "ana", "p"),
        ("privilege", "bo", "SELECT ON b.*\nSELECT ON a.*"),
    ]
    assert parse_observation(rows, "m") == Actual(
        {
            "ana": UserState(
                managed=True,
                roles=frozenset({"analyst", "night"}),
                admin=frozenset({"night"}),
                login=Login("ldap", (("server", "corp"),), hosts=("10.0.0.0/8", "localhost")),
                dormant=frozenset({"night"}),
                home=Home("d", frozenset({"p"})),
            ),
            "bo": UserState(
                managed=False,
                roles=frozenset({"foreign"}),
                login=Login("no_password"),
                door=Door.LOCKED,
                default_all=False,
                listed=frozenset({"foreign"}),
                privileges=("SELECT ON a.*", "SELECT ON b.*"),
            ),
        },
        {
            "analyst": RoleState(marked=True),
            "foreign": RoleState(),
            "night": RoleState(),
            "sub": RoleState(manages_access=True),
        },
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
            Login("ldap", (("server", "corp"),), beside=(Method("sha256_password"),)),
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_login_is_read_as(methods: list[str], params: list[str], login: Login) -> None:
    rows = [user("ana", ["::/0"], methods, params, [0])]
    assert parse_observation(rows, "m").users["ana"].login == login


@pytest.mark.parametrize(
    ("hosts", "ends", "door"),
    [
        (["::/0"], [0], Door.OPEN),
        (["192.0.2.1"], [0, 0], Door.OPEN),
        ([], [PAST], Door.LOCKED),
        ([], [PAST, PAST], Door.LOCKED),
        ([], [NOW], Door.LOCKED),
        ([], [HELD_AT, HELD_AT], Door.HELD),
        ([], [HELD_AT - 14 * 3600], Door.HELD),
        ([], [HELD_AT, PAST], Door.LOCKED),
        (["::/0"], [HELD_AT], Door.AJAR),
        ([], [0], Door.AJAR),
        ([], [], Door.AJAR),
        ([], [PAST, 0], Door.AJAR),
        ([], [FUTURE], Door.AJAR),
        (["::/0"], [PAST], Door.AJAR),
        (["::/0"], [0, FUTURE], Door.AJAR),
        (["::/0"], [FUTURE, FUTURE + 1], Door.AJAR),
        (["::/0"], [FUTURE], Door.OPEN),
        (["::/0"], [NOW - 1], Door.OPEN),
        (["::/0"], [FUTURE, FUTURE], Door.OPEN),
    ],
)
def test_a_door_is(hosts: list[str], ends: list[int], door: Door) -> None:
    rows = [user("ana", hosts, ["kerberos"], ["{}"], ends)]
    assert parse_observation(rows, "m").users["ana"].door is door


@pytest.mark.parametrize(
    ("hosts", "ends", "until"),
    [
        (["::/0"], [FUTURE], FUTURE),
        (["::/0"], [NOW - 1], NOW - 1),  # over, and still as it was wanted
        (["::/0"], [0], None),
        ([], [NOW - 1], None),  # behind a lock an end says nothing
        (["::/0"], [PAST], None),  # half a lock
    ],
)
def test_a_login_ends(hosts: list[str], ends: list[int], until: int | None) -> None:
    rows = [user("ana", hosts, ["kerberos"], ["{}"], ends)]
    assert parse_observation(rows, "m").users["ana"].login == Login(
        "kerberos", until=until, hosts=()
    )


def test_names_stay_in_their_quotes() -> None:
    sql = observe_query(["x'; DROP USER default; --"], [], "m")
    assert "IN ('x\\'; DROP USER default; --')" in sql


def test_nothing_asked_is_still_one_query() -> None:
    assert "IN ()" not in observe_query([], [], "m")
