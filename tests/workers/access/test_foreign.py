"""What others gave to managed users, and how many statements many changes take."""

from __future__ import annotations

from dataclasses import replace

from workers.access.model import Actual, Foreign, Policy, RoleState, UserState, Wanted
from workers.access.plan import plan
from workers.access.statements import render
from workers.access.steps import RevokeRoles, StripPrivileges

POLICY = Policy(vocabulary=frozenset({"r1", "r2"}))
ROLES = {role: RoleState() for role in ("r1", "r2", "own")}
ANA = UserState(managed=True, roles=frozenset({"r1", "own"}), privileges=("SELECT ON db.*",))
WANT = Wanted(resource_id="1", name="ana", previous="ana", roles=frozenset({"r1"}))


def test_what_others_gave_is_told_and_stays() -> None:
    decided = plan([WANT], Actual({"ana": ANA}, ROLES), POLICY)
    assert decided.steps == ()
    assert decided.foreign == (
        Foreign("ana", "role", "own"),
        Foreign("ana", "privilege", "SELECT ON db.*"),
    )


def test_what_others_gave_is_taken_if_the_policy_says_so() -> None:
    policy = replace(POLICY, revoke_foreign=True)
    decided = plan([WANT], Actual({"ana": ANA}, ROLES), policy)
    assert decided.steps == (RevokeRoles(("ana",), ("own",)), StripPrivileges(("ana",)))
    assert decided.foreign == ()


def test_a_thousand_changes_of_a_thousand_users_take_four_statements() -> None:
    names = [f"user{at:04}@acme.example" for at in range(1000)]
    there = {
        name: UserState(managed=True, roles=frozenset({"r1" if at % 2 else "r2"}))
        for at, name in enumerate(names)
    }
    wanted = [
        Wanted(
            resource_id=name,
            name=name,
            previous=name,
            roles=frozenset({"r2" if at % 2 else "r1"}),
        )
        for at, name in enumerate(names)
    ]
    steps = plan(wanted, Actual(there, ROLES), POLICY).steps
    assert len([sql for step in steps for sql in render(step, "m")]) == 4
