"""Whoever an operator holds on a target gets nothing there, whatever the directory says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.access.model import Actual, Door, Login, Policy, RoleState, UserState, Wanted
from workers.access.plan import plan
from workers.access.simulate import simulate

ROLES = frozenset({"reader", "writer"})
POLICY = Policy(vocabulary=ROLES)
some_roles = st.frozensets(st.sampled_from(sorted(ROLES)))


def held(*roles: str) -> UserState:
    return UserState(managed=True, roles=frozenset(roles), door=Door.HELD)


def planned(wanted: Wanted, **users: UserState) -> Actual:
    """Return what is there after the plan."""
    actual = Actual(users, {role: RoleState() for role in ROLES})
    return simulate(plan([wanted], actual, POLICY).steps, actual)


@given(
    active=st.booleans(),
    wants=some_roles,
    has=some_roles,
    previous=st.sampled_from([None, "ana", "old"]),
    name=st.sampled_from(["ana", "old"]),
    login=st.sampled_from([Login("no_password"), Login("ldap", (("server", "s"),))]),
)
def test_a_held_user_stays_held_and_loses_what_it_has(
    *,
    active: bool,
    wants: frozenset[str],
    has: frozenset[str],
    previous: str | None,
    name: str,
    login: Login,
) -> None:
    wanted = Wanted(
        resource_id="1", name=name, previous=previous, active=active, roles=wants, login=login
    )
    there = planned(wanted, **{previous or name: held(*has)})
    assert {n: (u.door, u.roles) for n, u in there.users.items()} == {
        name: (Door.HELD, frozenset())
    }


def test_somebody_else_is_not_held_by_it() -> None:
    wanted = Wanted(resource_id="1", name="bob", roles=ROLES)
    there = planned(wanted, ana=held())
    assert there.users["bob"].roles == ROLES
    assert there.users["ana"] == held()


@pytest.mark.parametrize("drops", [True, False])
def test_a_deleted_resource_leaves_no_way_in(drops: bool) -> None:
    actual = Actual({"ana": held("reader")}, {"reader": RoleState()})
    wanted = Wanted(resource_id="1", name=None, previous="ana", active=False)
    policy = Policy(vocabulary=ROLES, drop_deleted=drops)
    there = simulate(plan([wanted], actual, policy).steps, actual)
    assert there.users == ({} if drops else {"ana": held()})
