"""Roles that the configuration defines: made, kept in shape, and nobody else's touched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.privileges import parse_privilege
from workers.access.model import (
    Actual,
    Policy,
    RoleDefinition,
    RoleRefusal,
    RoleState,
    RowFilter,
    Setting,
    UserState,
)
from workers.access.roles import plan_roles
from workers.access.simulate import simulate
from workers.access.steps import (
    CreateRole,
    DropRowFilter,
    GrantPrivilege,
    MarkRole,
    RevokePrivilege,
    RoleStep,
    SetRowFilter,
    SetSettings,
)

M = "scim_managed"
POLICY = Policy(marker=M)
READ, WRITE = parse_privilege("SELECT ON db.*"), parse_privilege("INSERT ON db.t")
FILTER = RowFilter("db", "t", "tenant = 'acme'")
DEFINED = RoleDefinition(
    "analyst", grants=(READ,), settings=(Setting("max_threads", 4),), row_filters=(FILTER,)
)
OURS = {M: RoleState(), "analyst": RoleState(marked=True)}
UNMARKED = {M: RoleState(), "analyst": RoleState()}
WHOLE: list[RoleStep] = [SetRowFilter("analyst", *FILTER), GrantPrivilege("analyst", READ)]
SETTINGS = SetSettings("analyst", DEFINED.settings)

Case = tuple[RoleDefinition, dict[str, RoleState], RoleDefinition | None, list[str], list[RoleStep]]
CASES: dict[str, Case] = {
    "in shape": (DEFINED, OURS, DEFINED, [], []),
    "the first one": (
        DEFINED,
        {},
        None,
        [],
        [
            CreateRole(M, ()),
            CreateRole("analyst", DEFINED.settings),
            MarkRole("analyst"),
            *WHOLE,
        ],
    ),
    "wiped": (
        DEFINED,
        {M: RoleState()},
        DEFINED,
        ["analyst"],
        [CreateRole("analyst", DEFINED.settings), MarkRole("analyst"), *WHOLE],
    ),
    "a crash before the marker": (
        DEFINED,
        UNMARKED,
        None,
        ["analyst"],
        [MarkRole("analyst"), SETTINGS, *WHOLE],
    ),
    "the record was lost": (DEFINED, OURS, None, [], [SETTINGS, *WHOLE]),
    "somebody took the marker": (DEFINED, UNMARKED, DEFINED, [], [MarkRole("analyst")]),
    "a grant more": (
        replace(DEFINED, grants=(READ, WRITE)),
        OURS,
        DEFINED,
        [],
        [GrantPrivilege("analyst", WRITE)],
    ),
    "a grant less, and what stays is granted again": (
        DEFINED,
        OURS,
        replace(DEFINED, grants=(WRITE, READ)),
        [],
        [RevokePrivilege("analyst", WRITE), GrantPrivilege("analyst", READ)],
    ),
    "other settings": (
        replace(DEFINED, settings=()),
        OURS,
        DEFINED,
        [],
        [SetSettings("analyst", (), ("max_threads",))],
    ),
    "another filter": (
        replace(DEFINED, row_filters=(RowFilter("db", "t", "0"),)),
        OURS,
        DEFINED,
        [],
        [SetRowFilter("analyst", "db", "t", "0")],
    ),
    "no filter any more": (
        replace(DEFINED, row_filters=()),
        OURS,
        DEFINED,
        [],
        [DropRowFilter("analyst", "db", "t")],
    ),
}


@pytest.mark.parametrize(
    ("definition", "roles", "applied", "intended", "steps"), CASES.values(), ids=CASES.keys()
)
def test_the_steps_for_a_role_are(
    definition: RoleDefinition,
    roles: dict[str, RoleState],
    applied: RoleDefinition | None,
    intended: list[str],
    steps: list[RoleStep],
) -> None:
    record = {"analyst": applied} if applied else {}
    planned = plan_roles({"analyst": definition}, Actual({}, roles), record, POLICY, intended)
    assert (list(planned.steps), planned.refusals) == (steps, ())
    assert planned.creates == tuple(s.role for s in steps if isinstance(s, CreateRole))


def test_a_role_that_others_made_is_refused_and_not_changed() -> None:
    planned = plan_roles({"analyst": DEFINED}, Actual({}, UNMARKED), {}, POLICY)
    error = "role 'analyst' exists and was not made by this software"
    assert (planned.steps, planned.refusals) == ((), (RoleRefusal("analyst", 493, error),))


@pytest.mark.parametrize("roles", [{M: RoleState()}, OURS], ids=["missing", "ours"])
def test_a_role_named_like_a_user_is_refused_since_a_grant_would_reach_the_user(
    roles: dict[str, RoleState],
) -> None:
    actual = Actual({"analyst": UserState(managed=False)}, roles)
    planned = plan_roles({"analyst": DEFINED}, actual, {}, POLICY)
    error = "a user is named 'analyst' like the role"
    assert (planned.steps, planned.refusals) == ((), (RoleRefusal("analyst", None, error),))


def test_a_role_that_left_the_configuration_stays_as_it_is() -> None:
    assert plan_roles({}, Actual({}, OURS), {"analyst": DEFINED}, POLICY).steps == ()


NAMES = ("analyst", "writer")
definitions = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from([DEFINED, replace(DEFINED, grants=(WRITE,))])
).map(lambda found: {name: replace(d, name=name) for name, d in found.items()})
states = st.dictionaries(st.sampled_from([*NAMES, M]), st.builds(RoleState, marked=st.booleans()))


@given(definitions, definitions, states, st.sets(st.sampled_from(NAMES)), st.data())
def test_after_a_crash_anywhere_every_role_that_is_ours_gets_its_shape(
    wanted: dict[str, RoleDefinition],
    applied: dict[str, RoleDefinition],
    roles: dict[str, RoleState],
    intended: set[str],
    data: st.DataObject,
) -> None:
    before = Actual({}, roles)
    first = plan_roles(wanted, before, applied, POLICY, intended)
    done = data.draw(st.integers(0, len(first.steps)), label="steps done before the crash")
    crashed = simulate(first.steps[:done], before)
    again = plan_roles(wanted, crashed, applied, POLICY, intended | set(first.creates))
    after = simulate(again.steps, crashed)
    assert again.refusals == first.refusals
    refused = {refusal.name for refusal in first.refusals}
    for name in wanted.keys() - refused:
        assert after.roles[name].marked
    for name in refused:
        assert after.roles[name] == roles[name]
    assert (
        plan_roles(
            {n: d for n, d in wanted.items() if n not in refused}, after, wanted, POLICY
        ).steps
        == ()
    )
