"""What a drift row says of a defined role and of a log-in: its parts, in words."""

from __future__ import annotations

from app.config.privileges import parse_privilege
from workers.access.drift import differences
from workers.access.model import (
    Home,
    Interval,
    Login,
    Method,
    RoleState,
    RowFilter,
    Setting,
    Shape,
    UserState,
)
from workers.access.reach import grants_of


def test_each_part_of_a_role_that_differs_is_a_row() -> None:
    is_so = Shape(settings=(Setting("max_threads", "9"),))
    should_be = Shape(
        grants=frozenset(grants_of(parse_privilege("SELECT(id) ON d.t"))),
        settings=(Setting("max_threads", 2, max=4, const=True),),
        row_filters=(RowFilter("d", "t", "a = 1", restrictive=True),),
        quota=(Interval(60, (("queries", 5),)),),
    )
    pair = (RoleState(marked=True, shape=is_so), RoleState(marked=True, shape=should_be))
    found = differences({}, {"reader": pair})
    assert [(one.kind, one.name, one.what, one.expected, one.actual) for one in found] == [
        ("role", "reader", "grants", "SELECT(id) ON d.t", "none"),
        ("role", "reader", "quota", "60 s: queries 5", "none"),
        ("role", "reader", "row_filters", "restrictive d.t: a = 1", "none"),
        ("role", "reader", "settings", "max_threads = 2 max 4 const", "max_threads = 9"),
    ]


def test_a_log_in_and_a_home_are_told_in_words() -> None:
    login = Login("kerberos", beside=(Method("http"),), until=5, hosts=("10.0.0.0/8",))
    is_so = UserState(managed=True)
    should_be = UserState(managed=True, login=login, home=Home("crm", frozenset({"p"})))
    found = differences({"ana": (is_so, should_be)}, {})
    assert [(one.what, one.expected) for one in found] == [
        ("home", "database crm, profiles p"),
        ("login", "kerberos, http until 5 from 10.0.0.0/8"),
    ]
