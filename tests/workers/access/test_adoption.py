"""Users that were there before: adopted if the policy says so, and given back as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.workers.access.test_plan_laws import HOMES, LOGINS, prefixes
from workers.access.adoption import match
from workers.access.model import Actual, Adopted, Door, Policy, RoleState, UserState, Wanted
from workers.access.plan import plan
from workers.access.simulate import simulate
from workers.access.steps import Adopt, Drop, Release

MAPPED, OWN = ("r1", "r2"), ("own", "r1", "night")
ROLES = {role: RoleState() for role in {*MAPPED, *OWN}}
ROLES["root"] = RoleState(manages_access=True)
ADOPTING = Policy(vocabulary=frozenset(MAPPED), adopt_existing=True)


def _strange(state: UserState) -> UserState:
    """Return a user of others as a server may have it."""
    admin, listed = state.admin & state.roles, state.listed & state.roles
    if state.default_all:
        return replace(state, admin=admin, listed=frozenset())
    return replace(state, admin=admin, listed=listed, dormant=frozenset())


def _roles(names: Sequence[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names))


strangers = st.builds(
    UserState,
    managed=st.just(False),
    roles=_roles(OWN),
    admin=_roles(OWN),
    login=LOGINS.map(lambda login: login.observable),
    default_all=st.booleans(),
    dormant=_roles(OWN),
    listed=_roles(OWN),
    privileges=st.sampled_from([(), ("SELECT ON db.*",)]),
    home=HOMES,
    entity=st.just("e"),
).map(_strange)
wants = st.builds(
    Wanted,
    resource_id=st.just("1"),
    name=st.just("ana"),
    previous=st.sampled_from([None, "ana"]),
    roles=_roles(MAPPED),
    login=LOGINS,
)


def recorded(state: UserState) -> Policy:
    return replace(ADOPTING, adopted={"ana": Adopted.of(state, state.privileges)})


@given(strangers, wants)
def test_an_adopted_user_has_what_is_wanted_and_keeps_its_log_in(
    before: UserState, want: Wanted
) -> None:
    actual = Actual({"ana": before}, ROLES)
    decided = plan([want], actual, ADOPTING)
    assert isinstance(decided.steps[0], Adopt)
    after = simulate(decided.steps, actual)
    ana = after.users["ana"]
    assert ana.managed
    assert ana.roles & ADOPTING.vocabulary == want.roles
    assert ana.roles - ADOPTING.vocabulary == before.roles - ADOPTING.vocabulary
    assert (ana.login.methods, ana.login.hosts) == (before.login.methods, before.login.hosts)
    assert (ana.home, ana.privileges, ana.door) == (before.home, before.privileges, Door.OPEN)
    again = replace(want, previous="ana")
    assert plan([again], after, recorded(before)).steps == ()


@given(strangers, st.lists(wants, max_size=3), st.lists(st.booleans(), max_size=3), st.data())
def test_a_user_is_given_back_as_it_was(
    before: UserState, wanted: list[Wanted], active: list[bool], data: st.DataObject
) -> None:
    assume(wanted)
    policy, actual = recorded(before), Actual({"ana": before}, ROLES)
    actual = simulate(plan(wanted[:1], actual, ADOPTING).steps, actual)
    for want, is_active in zip(wanted, active, strict=False):
        here = replace(want, previous="ana", active=is_active)
        actual = simulate(plan([here], actual, policy).steps, actual)
    gone = Wanted(resource_id="1", name=None, previous="ana", active=False)
    steps = plan([gone], actual, policy).steps
    assert isinstance(steps[-1], Release)
    done = data.draw(st.integers(0, len(steps)), label="steps done before a crash")
    crashed = simulate(steps[:done], actual)
    after = simulate(plan([gone], crashed, policy).steps, crashed)
    assert after.users == {"ana": before}
    again = plan([gone], after, policy)
    assert (again.steps, again.refusals) == ((), ())


@given(strangers, wants, wants)
def test_nobody_holds_on_the_way_back_what_is_held_neither_before_nor_after(
    before: UserState, want: Wanted, later: Wanted
) -> None:
    policy, actual = recorded(before), Actual({"ana": before}, ROLES)
    states = []
    for one, rules in ((want, ADOPTING), (replace(later, previous="ana", name=None), policy)):
        stages = [state for state, _ in prefixes(plan([one], actual, rules).steps, actual)]
        held = stages[0].users["ana"].roles | stages[-1].users["ana"].roles
        assert all(state.users["ana"].roles <= held for state in stages)
        actual = stages[-1]
        states += stages
    assert all("ana" in state.users for state in states)


ANA = UserState(managed=False, roles=frozenset({"own"}), entity="e")
WANT = Wanted(resource_id="1", name="ana", roles=frozenset({"r1"}))
REFUSED = {
    "nobody said so": (ANA, WANT, replace(ADOPTING, adopt_existing=False), "is not managed"),
    "it was said not to": (ANA, WANT, replace(ADOPTING, consents={"ana": "no"}), "is not managed"),
    "it is to be inactive": (ANA, replace(WANT, active=False), ADOPTING, "is not managed"),
    "it manages access": (replace(ANA, manages_access=True), WANT, ADOPTING, "manages access"),
    "it holds a protected role": (
        replace(ANA, roles=frozenset({"admin"})),
        WANT,
        ADOPTING,
        "manages access",
    ),
    "it can't log in": (replace(ANA, door=Door.LOCKED), WANT, ADOPTING, "can't log in"),
    "it is protected": (ANA, WANT, replace(ADOPTING, protected_names=frozenset({"ana"})), "never"),
}


@pytest.mark.parametrize(("state", "want", "policy", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_user_of_others_stays_as_it_is(
    state: UserState, want: Wanted, policy: Policy, why: str
) -> None:
    decided = plan([want], Actual({"ana": state}, ROLES), policy)
    (refusal,) = decided.refusals
    assert decided.steps == ()
    assert why in refusal.error


def test_a_single_user_is_adopted_where_that_was_said() -> None:
    policy = replace(ADOPTING, adopt_existing=False, consents={"ana": "yes"})
    assert Adopt(("ana",)) in plan([WANT], Actual({"ana": ANA}, ROLES), policy).steps


def test_a_user_is_given_back_though_its_resource_stays_where_that_was_said() -> None:
    policy = replace(recorded(ANA), consents={"ana": "no"})
    managed = replace(ANA, managed=True, roles=frozenset({"own", "r1"}))
    actual = Actual({"ana": managed}, ROLES)
    decided = plan([replace(WANT, previous="ana")], actual, policy)
    assert simulate(decided.steps, actual).users == {"ana": ANA}
    (refusal,) = decided.refusals
    assert "is given back" in refusal.error


def test_a_renamed_resource_leaves_the_user_that_it_had_adopted() -> None:
    managed = replace(ANA, managed=True, roles=frozenset({"own", "r1"}))
    actual = Actual({"ana": managed}, ROLES)
    moved = replace(WANT, name="anna", previous="ana")
    after = simulate(plan([moved], actual, recorded(ANA)).steps, actual)
    assert after.users["ana"] == ANA
    assert after.users["anna"].roles == {"r1"}


def test_another_user_of_the_name_is_not_taken_for_the_adopted_one() -> None:
    stranger = UserState(managed=True, roles=frozenset({"r1"}), entity="another")
    gone = Wanted(resource_id="1", name=None, previous="ana", active=False)
    steps = plan([gone], Actual({"ana": stranger}, ROLES), recorded(ANA)).steps
    assert any(isinstance(step, Drop) for step in steps)


def test_a_report_says_who_could_be_adopted_and_what_that_would_change() -> None:
    there = {
        "ana": replace(ANA, roles=frozenset({"own", "r2"})),
        "bo": replace(ANA, manages_access=True),
        "cy": replace(ANA, managed=True),
        "dan": replace(ANA, managed=True, entity="d"),
        "eve": ANA,
    }
    policy = replace(
        ADOPTING,
        adopt_existing=False,
        consents={"ana": "no"},
        adopted={"cy": Adopted(entity="e"), "dan": Adopted(entity="e")},
    )
    wanted = [
        replace(WANT, resource_id=name, name=name, roles=frozenset({"r1", "missing"}))
        for name in ("dan", "cy", "bo", "ana", "new")
    ]
    found = list(match(wanted, Actual(there, ROLES), policy))
    assert [(one.name, one.verdict, one.gains, one.loses) for one in found] == [
        ("ana", "adopt", ("r1",), ("r2",)),
        ("bo", "refuse", (), ()),
        ("cy", "adopted", (), ()),
        ("dan", "managed", (), ()),
    ]
    assert "manages access" in found[1].reason
