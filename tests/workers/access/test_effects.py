from __future__ import annotations

from app.config.privileges import parse_privilege
from workers.access.effects import (
    Change,
    Granted,
    Grants,
    granted_by,
    log_ins,
    role_changes,
    table_changes,
)
from workers.access.model import Door, UserState


def user(*roles: str, door: Door = Door.OPEN) -> UserState:
    return UserState(managed=True, roles=frozenset(roles), door=door)


SELECT = Granted("crm.*", "SELECT")
INSERT = Granted("crm.*", "INSERT")
NOTHING = Grants({}, {})


def test_who_is_locked_loses_every_role_and_the_log_in() -> None:
    users = {"ana": (user("r"), user(door=Door.LOCKED)), "bob": (None, user("r"))}
    assert role_changes(users) == {"r": Change(("bob",), ("ana",))}
    assert log_ins(users) == Change(("bob",), ("ana",))


def test_a_role_that_stays_is_no_change() -> None:
    assert role_changes({"ana": (user("r", "s"), user("r"))}) == {"s": Change((), ("ana",))}


def test_a_grant_that_another_role_still_gives_is_not_lost() -> None:
    grants = Grants({"r": frozenset({SELECT}), "s": frozenset({SELECT, INSERT})}, {})
    users = {"ana": (user("r", "s"), user("r"))}
    assert table_changes(users, grants, grants, {}) == {INSERT: Change((), ("ana",))}


def test_a_grant_of_a_parent_role_counts() -> None:
    grants = Grants({"top": frozenset({SELECT})}, {"r": frozenset({"top"})})
    users = {"ana": (None, user("r"))}
    assert table_changes(users, grants, grants, {}) == {SELECT: Change(("ana",), ())}


def test_roles_that_hold_one_another_are_no_trouble() -> None:
    circle = {"r": frozenset({"s"}), "s": frozenset({"r"})}
    grants = Grants({"s": frozenset({SELECT})}, circle)
    assert grants.of(["r"]) == {SELECT}
    assert grants.under(["r"]) == {"r", "s"}


def test_a_changed_role_changes_what_its_holders_have() -> None:
    before = Grants({"r": frozenset({SELECT})}, {})
    after = Grants({"r": frozenset({INSERT})}, {})
    changes = table_changes({}, before, after, {"ana": {"r"}, "bob": {"other"}})
    assert changes == {INSERT: Change(("ana",), ()), SELECT: Change((), ("ana",))}


def test_a_definition_tells_its_grants_as_a_target_does() -> None:
    texts = ("SELECT(id, country), INSERT ON crm.customers", "SELECT ON logs*.*", "SELECT ON a.b*")
    assert granted_by(map(parse_privilege, texts)) == {
        Granted("crm.customers", "SELECT(id)"),
        Granted("crm.customers", "SELECT(country)"),
        Granted("crm.customers", "INSERT"),
        Granted("logs*.*", "SELECT"),
        Granted("a.b*", "SELECT"),
    }
