"""From a directory and a role map to what a target holds: the same as a reader of the file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.config.pattern import fill, parts_of
from app.config.rolemap import RoleMap
from app.config.tenant import Tenant
from workers.access.desired import Rules
from workers.access.model import Actual, Door, Login, Policy, RoleState, UserState, Wanted
from workers.access.plan import plan
from workers.access.simulate import simulate

USERS, GROUPS = ("ana", "bo", "cy"), ("Data", "ch-prod-x", "ch-dev-y", "Other")
ROLES = ("r1", "r2", "x_reader", "y_reader", "employee")
TARGETS = ("main", "second")
OUTSIDER = "outsider"


@dataclass(frozen=True, slots=True)
class Directory:
    """`active`: of each user; `members`: of each group, users and groups."""

    active: Mapping[str, bool]
    members: Mapping[str, frozenset[str]]

    def groups_of(self, user: str) -> frozenset[str]:
        """Return the groups that the user is in, also through others."""
        found: set[str] = set()
        while fresh := {
            group
            for group, members in self.members.items()
            if group not in found and (user in members or found & members)
        }:
            found |= fresh
        return frozenset(found)


directories = st.builds(
    Directory,
    active=st.dictionaries(st.sampled_from(USERS), st.booleans(), min_size=1),
    members=st.dictionaries(
        st.sampled_from(GROUPS),
        st.frozensets(st.sampled_from([*USERS, *GROUPS]), min_size=1),
        min_size=1,
    ),
)
some_roles = st.lists(st.sampled_from(ROLES[:2]), min_size=1, unique=True)
targets = st.sampled_from([[], ["main"], ["second"]])
entries = st.one_of(
    st.fixed_dictionaries(
        {"group": st.sampled_from(GROUPS), "roles": some_roles, "targets": targets}
    ),
    st.fixed_dictionaries(
        {
            "pattern": st.sampled_from(["ch-*-*", "CH-prod*?", "*-*"]),
            "roles": st.sampled_from([["{1}_reader"], ["{2}_reader"], ["r1"], ["r2"]]),
            "targets": targets,
        }
    ),
)
maps = st.lists(entries, min_size=1, max_size=4)
states = st.dictionaries(
    st.sampled_from(USERS),
    st.builds(
        UserState,
        managed=st.booleans(),
        roles=st.frozensets(st.sampled_from([*ROLES, OUTSIDER])),
        login=st.just(Login("kerberos")),
        door=st.sampled_from([Door.OPEN, Door.LOCKED]),
    ),
)


def told_by_the_file(entries: list[dict[str, Any]], groups: frozenset[str]) -> set[str]:
    """Return the roles that these groups give on `main`, read off the file entry by entry."""
    roles = {"employee"}
    here = [entry for entry in entries if not entry["targets"] or "main" in entry["targets"]]
    for group in groups:
        named = [entry for entry in here if entry.get("group") == group]
        if named:
            roles.update(role for entry in named for role in entry["roles"])
            continue
        for entry in here:
            parts = parts_of(group, entry["pattern"]) if "pattern" in entry else None
            if parts is not None:
                roles.update(fill(role, parts) for role in entry["roles"])
                break
    return roles


def wanted_of(directory: Directory, rules: Rules) -> list[Wanted]:
    role_map = rules.role_map
    keys = {group: role_map.keys_for(group, None) for group in directory.members}
    links = {key: group for group, its in keys.items() for key in its if key != "like"}
    names = {group: group for group, its in keys.items() if "like" in its}
    return [
        rules.wanted(
            user,
            {"userName": user, "active": active},
            directory.groups_of(user),
            links,
            None,
            names=names,
        )
        for user, active in directory.active.items()
    ]


@given(directories, maps, states)
def test_a_target_comes_to_hold_what_the_file_and_the_directory_say(
    directory: Directory, entries: list[dict[str, Any]], there: dict[str, UserState]
) -> None:
    tenant = Tenant.model_validate(
        {
            "targets": list(TARGETS),
            "default_roles": ["employee"],
            "groups": entries,
            "authentication": {"method": "kerberos"},
        }
    )
    rules = Rules.of("acme", tenant, "main")
    wanted = wanted_of(directory, rules)
    before = Actual(there, {role: RoleState() for role in (*ROLES, OUTSIDER, "prod_reader")})
    vocabulary = RoleMap.of(tenant, "main").vocabulary.union(*(want.roles for want in wanted))
    policy = Policy(vocabulary=vocabulary)
    steps = plan(wanted, before, policy).steps
    after = simulate(steps, before)
    for user, active in directory.active.items():
        state = there.get(user)
        if state is not None and not state.managed:
            assert after.users[user] == state
            continue
        told = told_by_the_file(entries, directory.groups_of(user)) & before.roles.keys()
        assert (after.users[user].door is Door.OPEN) == active
        assert after.users[user].roles & vocabulary == (told if active else set())
    strangers = {n: s for n, s in there.items() if n not in directory.active}
    assert strangers.items() <= after.users.items()
    again = [replace(want, previous=want.name) for want in wanted]
    assert plan(again, after, policy).steps == ()
