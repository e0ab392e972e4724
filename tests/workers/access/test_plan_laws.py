"""Laws of plans over random stories: few names and roles, so that they collide.

A model of ClickHouse (`simulate`) carries the steps out. Each user of the model has an identity,
which a rename keeps and a new user doesn't have: what an open session is bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.access.model import (
    Actual,
    Door,
    Home,
    Login,
    Method,
    Policy,
    Refusal,
    RoleState,
    UserState,
    Wanted,
)
from workers.access.ownership import with_lost_marks
from workers.access.plan import plan
from workers.access.simulate import simulate
from workers.access.steps import Authenticate, Create, Drop, Rename, Step, Unlock

NAMES = ("ana", "bo", "cy", "default")
GIVEN, MISSING, FOREIGN = ("r1", "r2"), "missing", "foreign"
LOGINS = st.sampled_from(
    [
        Login("kerberos"),
        Login("http", (("server", "sso"),)),
        Login("kerberos", until=2_000_000_000),
        Login("sha256_password", secret="sha256:AB:CD"),
        Login("sha256_password", secret="sha256:EF:CD", until=2_000_000_000),
        Login("kerberos", beside=(Method("http", (("server", "sso"),)),), hosts=("10.0.0.0/8",)),
    ]
)
SECRETIVE, STRANGE = "secretive", "strange"  # it manages access; others made it
HOMES = st.sampled_from(
    [Home(), Home("db"), Home("db", frozenset({"p"})), Home("", frozenset({"q"}))]
)
ROLES = {role: RoleState() for role in (*GIVEN, FOREIGN, STRANGE)}
ROLES[SECRETIVE] = RoleState(manages_access=True)
UNKNOWN_ROLE = 511


def _state(*, door: Door, login: Login, **rest: Any) -> UserState:
    """Return a user as it is observed: an end is seen of an open door only."""
    shown = login.observable if door is Door.OPEN else login.observable.shut
    return UserState(door=door, login=shown, **rest)


def _some_of(roles: Sequence[str]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(roles))


def _there(state: UserState) -> UserState:
    return replace(state, admin=state.admin & state.roles)


users = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        _state,
        managed=st.sampled_from([True, True, True, False]),
        roles=_some_of([*GIVEN, FOREIGN]),
        admin=_some_of([*GIVEN, FOREIGN]),
        dormant=_some_of([*GIVEN, FOREIGN]),
        home=HOMES,
        login=LOGINS,
        door=st.sampled_from(sorted(set(Door) - {Door.HELD})),  # see test_holding.py
        default_all=st.booleans(),
        privileges=st.sampled_from([(), ("SELECT ON db.*",)]),
    ).map(_there),
)
names = st.sampled_from([*NAMES, None])


def _consistent(want: Wanted) -> Wanted:
    roles = want.roles
    return replace(
        want, admin=want.admin & roles, dormant=want.dormant & roles, made=want.made & roles
    )


resources = st.builds(
    Wanted,
    resource_id=st.just(""),
    name=names,
    previous=names,
    active=st.booleans(),
    roles=_some_of([*GIVEN, MISSING, SECRETIVE, STRANGE, "admin"]),
    admin=_some_of(GIVEN),
    dormant=_some_of(GIVEN),
    made=_some_of([STRANGE]),
    login=LOGINS,
    home=HOMES,
    applied_digest=st.sampled_from(["", Login("", secret="sha256:AB:CD").digest]),
).map(_consistent)


def _directory(drawn: Sequence[Wanted]) -> list[Wanted]:
    """Give ids. Two may share a `previous` if one of them still has it as its name: the other was
    moved away from it, and that is not recorded yet.
    """
    wanted: list[Wanted] = []
    seen: set[tuple[str | None, bool]] = set()
    for want in drawn:
        key = (want.previous, want.previous == want.name)
        previous = None if key in seen else want.previous
        seen.add(key)
        wanted.append(replace(want, resource_id=str(len(wanted)), previous=previous))
    return wanted


directories = st.lists(resources, max_size=4).map(_directory)
policies = st.builds(
    Policy,
    vocabulary=st.just(frozenset({*GIVEN, MISSING, SECRETIVE, STRANGE})),
    drop_deleted=st.booleans(),
    revoke_foreign=st.booleans(),
)


def told(refusals: Sequence[Refusal]) -> set[str]:
    """Return the resources that don't get their name; a role that is withheld is another matter."""
    return {
        refusal.resource_id
        for refusal in refusals
        if refusal.code != UNKNOWN_ROLE and not refusal.error.startswith("role ")
    }


def given_to(want: Wanted) -> frozenset[str]:
    """Return the roles that can be given to it on the target of these laws."""
    return want.roles & ROLES.keys() - {SECRETIVE, *want.made}


def is_out(state: UserState | None) -> bool:
    return state is None or (
        state.door is Door.LOCKED and not state.roles and not state.has_privileges
    )


def assert_reached(wanted: Sequence[Wanted], before: Actual, after: Actual, policy: Policy) -> None:
    """Every resource that is not refused has what it should, and nothing else has changed hands."""
    refused = told(plan(wanted, before, policy).refusals)
    held = {want.name for want in wanted if want.resource_id not in refused}
    for want in wanted:
        if want.resource_id in refused:
            continue
        if want.name is None:
            previous = after.users.get(want.previous or "")
            if want.previous not in held and not policy.protects(want.previous or ""):
                assert is_out(previous)
                assert previous is None or not policy.drop_deleted
            continue
        state = after.users.get(want.name)
        if not want.active:
            assert state is not None
            assert is_out(state)
            continue
        assert state is not None
        assert (state.managed, state.door, state.default_all) == (True, Door.OPEN, True)
        assert (state.login, state.home) == (want.login.observable, want.home)
        assert state.roles & policy.vocabulary == given_to(want)
        assert state.admin & want.roles == want.admin
        assert state.dormant & state.roles & want.roles == want.dormant
        if policy.revoke_foreign:
            assert (state.roles, state.has_privileges) == (given_to(want), False)


def _each_with_a_previous_of_its_own(wanted: Sequence[Wanted]) -> bool:
    previous = [want.previous for want in wanted if want.previous is not None]
    return len(previous) == len(set(previous))


def recorded(wanted: Sequence[Wanted], refused: set[str]) -> list[Wanted]:
    """Return what the caller asks next time: names that were applied are now previous ones."""
    return [
        want
        if want.resource_id in refused or want.name is None
        else replace(want, previous=want.name, applied_digest=want.login.digest)
        for want in wanted
    ]


def prefixes(
    steps: Sequence[Step], actual: Actual, identity: Mapping[str, object] | None = None
) -> Iterator[tuple[Actual, dict[str, object]]]:
    """Yield each state on the way, with the identity of each user: at first its name."""
    identity = dict(identity or {name: name for name in actual.users})
    yield actual, dict(identity)
    for step in steps:
        actual = simulate([step], actual)
        match step:
            case Rename(previous, name):
                identity[name] = identity.pop(previous)
            case Create(created):
                identity.update({name: object() for name in created})
            case Drop(dropped):
                identity = {name: at for name, at in identity.items() if name not in dropped}
        yield actual, dict(identity)


@given(directories, users, policies)
def test_a_plan_reaches_what_is_wanted(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    after = simulate(plan(wanted, before, policy).steps, before)
    assert_reached(wanted, before, after, policy)


@given(directories, users, policies)
def test_a_second_plan_is_empty(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    first = plan(wanted, before, policy)
    after = simulate(first.steps, before)
    assert plan(recorded(wanted, told(first.refusals)), after, policy).steps == ()


@given(directories, users, policies)
def test_a_second_plan_is_empty_before_anything_is_recorded_but_for_changed_hands_and_locks(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    given_up = [(w.previous, w.resource_id) for w in wanted if w.previous is not None]
    taken_up = [(w.name, w.resource_id) for w in wanted]
    if any(old == new and giver != taker for old, giver in given_up for new, taker in taken_up):
        return
    if any(w.name is not None and not w.active and w.previous != w.name for w in wanted):
        return
    before = Actual(there, ROLES)
    after = simulate(plan(wanted, before, policy).steps, before)
    assert plan(_with_secrets(wanted), after, policy).steps == ()


def _with_secrets(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Return what the lane asks next in the same batch: the secrets that it set are known."""
    return [replace(want, applied_digest=want.login.digest) for want in wanted]


@given(directories, users, policies)
def test_whoever_is_let_in_has_the_secret_that_is_wanted(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    decided = plan(wanted, Actual(there, ROLES), policy)
    refused = told(decided.refusals)
    set_now = {
        name: step.login.secret
        for step in decided.steps
        if isinstance(step, Create | Unlock | Authenticate)
        for name in step.names
    }
    for want in wanted:
        if want.name and want.active and want.resource_id not in refused and want.login.secret:
            had = "" if want.applied_digest != want.login.digest else want.login.secret
            assert set_now.get(want.name, had) == want.login.secret


@given(directories, users, policies)
def test_what_is_not_managed_is_never_touched(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    kept = {n: s for n, s in there.items() if not s.managed or policy.protects(n)}
    for state, _ in prefixes(plan(wanted, before, policy).steps, before):
        assert kept.items() <= state.users.items()
        assert {"default"} & state.users.keys() <= kept.keys()


@given(directories, users, policies)
def test_nobody_holds_on_the_way_what_is_held_neither_before_nor_after(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    states = list(prefixes(plan(wanted, before, policy).steps, before))
    last, last_identity = states[-1]
    may: dict[object, frozenset[str]] = {name: state.roles for name, state in there.items()}
    for name, identity in last_identity.items():
        may[identity] = may.get(identity, frozenset()) | last.users[name].roles
    for state, identities in states:
        for name, identity in identities.items():
            assert state.users[name].roles <= may.get(identity, frozenset())


@given(directories, users, policies)
def test_nobody_who_ends_locked_gets_a_way_in(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    states = list(prefixes(plan(wanted, before, policy).steps, before))
    last, last_identity = states[-1]
    stay = {i for name, i in last_identity.items() if last.users[name].door is not Door.LOCKED}
    for (state, identities), (later, identities_later) in pairwise(states):
        doors = {i: state.users[name].door for name, i in identities.items() if i not in stay}
        for name, identity in identities_later.items():
            if identity not in stay:
                door = doors.get(identity, Door.LOCKED)  # a new one is locked from the start
                assert later.users[name].door in {door, Door.LOCKED}


@given(directories, users, policies)
def test_all_that_is_taken_is_taken_before_anything_is_given(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    giving = False
    for (state, ids), (later, ids_later) in _pairs(plan(wanted, before, policy).steps, before):
        held = {i: state.users[name].roles for name, i in ids.items()}
        holds = {i: later.users[name].roles for name, i in ids_later.items()}
        giving = giving or any(holds[i] - held.get(i, frozenset()) for i in holds)
        assert not giving or all(held[i] <= holds.get(i, frozenset()) for i in held)


def _pairs(
    steps: Sequence[Step], actual: Actual
) -> Iterator[tuple[tuple[Actual, dict[str, object]], tuple[Actual, dict[str, object]]]]:
    states = list(prefixes(steps, actual))
    return pairwise(states)


@given(directories, users, policies, st.data())
def test_a_plan_made_after_a_crash_goes_on_from_there(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy, data: st.DataObject
) -> None:
    before = Actual(there, ROLES)
    steps = plan(wanted, before, policy).steps
    done = data.draw(st.integers(0, len(steps)), label="steps done before the crash")
    crashed = simulate(steps[:done], before)
    again = plan(wanted, crashed, policy)
    after = simulate(again.steps, crashed)
    assert_reached(wanted, before, after, policy)
    assert plan(recorded(wanted, told(again.refusals)), after, policy).steps == ()


@given(directories.filter(_each_with_a_previous_of_its_own), users, policies, st.data())
def test_nobody_gets_the_user_of_another_not_even_after_a_crash(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy, data: st.DataObject
) -> None:
    before = Actual(there, ROLES)
    owner: dict[object, str] = {w.previous: w.resource_id for w in wanted if w.previous}
    states = list(prefixes(plan(wanted, before, policy).steps, before))
    crashed, at_crash = data.draw(st.sampled_from(states), label="state at the crash")
    again = plan(wanted, crashed, policy)
    *_, (_, identity) = prefixes(again.steps, crashed, at_crash)
    for want in wanted:
        if want.name in identity and want.resource_id not in told(again.refusals):
            assert owner.get(identity[want.name], want.resource_id) == want.resource_id


@given(directories, users, policies)
def test_nobody_may_hand_on_what_it_may_neither_before_nor_after(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    states = list(prefixes(plan(wanted, before, policy).steps, before))
    last, last_identity = states[-1]
    may: dict[object, frozenset[str]] = {name: state.admin for name, state in there.items()}
    for name, identity in last_identity.items():
        may[identity] = may.get(identity, frozenset()) | last.users[name].admin
    for state, identities in states:
        for name, identity in identities.items():
            assert state.users[name].admin <= may.get(identity, frozenset())


@given(directories, users, policies)
def test_nobody_can_log_in_in_a_way_that_is_neither_the_old_nor_the_new_one(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    states = list(prefixes(plan(wanted, before, policy).steps, before))
    last, last_identity = states[-1]
    ways: dict[object, set[Login]] = {name: {state.login} for name, state in there.items()}
    for name, identity in last_identity.items():
        ways.setdefault(identity, set()).add(last.users[name].login)
    for state, identities in states:
        for name, identity in identities.items():
            if state.users[name].door is not Door.LOCKED:
                assert state.users[name].login in ways[identity]


@given(directories, users, policies)
def test_what_is_foreign_is_told_or_gone(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy
) -> None:
    before = Actual(there, ROLES)
    decided = plan(wanted, before, policy)
    after = simulate(decided.steps, before)
    told_of = {(foreign.name, foreign.what) for foreign in decided.foreign}
    for want in wanted:
        state = after.users.get(want.name or "")
        if want.active and state and want.resource_id not in told(decided.refusals):
            foreign = {*state.roles - given_to(want) - policy.vocabulary, *state.privileges}
            assert {(want.name, what) for what in foreign} <= told_of


unmarked = st.frozensets(st.sampled_from(NAMES))
METHODS = frozenset({"kerberos", "http"})


@given(directories, users, policies, unmarked)
def test_whoever_lost_the_marker_with_its_role_is_managed_again_and_nobody_else(
    wanted: list[Wanted], there: dict[str, UserState], policy: Policy, lost: frozenset[str]
) -> None:
    policy = replace(policy, unmarked=lost, methods=METHODS)
    before = Actual(there, ROLES)
    kept = {
        name: state
        for name, state in there.items()
        if not state.managed and not policy.has_lost_mark(name, state)
    }
    for name, state in there.items():
        if policy.has_lost_mark(name, state):
            assert name in lost
            assert not state.privileges
            assert state.roles <= policy.vocabulary
            assert {method.method for method in state.login.methods} <= METHODS
    steps = plan(wanted, before, policy).steps
    for actual, _ in prefixes(steps, before):
        assert kept.items() <= actual.users.items()
    whole, _ = with_lost_marks(before, policy)
    assert simulate(steps, before) == simulate(
        plan(wanted, whole, replace(policy, unmarked=frozenset())).steps, whole
    )
