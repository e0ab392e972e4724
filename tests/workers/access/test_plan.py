"""What a plan decides, case by case. Laws over random stories are in test_plan_laws.py."""

from __future__ import annotations

import pytest

from workers.access.model import Actual, Door, Login, Policy, Refusal, RoleState, UserState, Wanted
from workers.access.plan import plan
from workers.access.steps import (
    Authenticate,
    Create,
    DefaultAll,
    Drop,
    Grant,
    KillQueries,
    Lock,
    Rename,
    RevokeRoles,
    StripPrivileges,
    StripRoles,
    Unlock,
    UserStep,
)

LDAP = Login("ldap", (("server", "corp"),))
KERBEROS = Login("kerberos")
R, W, F = "reader", "writer", "foreign"
POLICY = Policy(vocabulary=frozenset({R, W, "gone"}), protected_names=frozenset({"provisioner"}))
KEEP = Policy(vocabulary=POLICY.vocabulary, drop_deleted=False)
ROLES = {role: RoleState() for role in (R, W, F)}


def want(
    name: str | None = "ana",
    *roles: str,
    id: str = "1",  # noqa: A002 - as the resource calls it
    previous: str | None = None,
    active: bool = True,
    login: Login = LDAP,
) -> Wanted:
    return Wanted(
        resource_id=id,
        name=name,
        previous=previous,
        active=active,
        roles=frozenset(roles),
        login=login,
    )


def has(
    *roles: str,
    managed: bool = True,
    login: Login = LDAP,
    door: Door = Door.OPEN,
    default_all: bool = True,
    privileges: bool = False,
) -> UserState:
    return UserState(
        managed=managed,
        roles=frozenset(roles),
        login=login,
        door=door,
        default_all=default_all,
        privileges=("SELECT ON *.*",) if privileges else (),
    )


def gone(name: str, *, roles: bool = True) -> list[UserStep]:
    """Return how an open user leaves."""
    strip: list[UserStep] = [StripRoles((name,))] if roles else []
    return [*strip, KillQueries((name,)), Lock((name,))]


Case = tuple[list[Wanted], dict[str, UserState], Policy, list[UserStep]]
CASES: dict[str, Case] = {
    "nothing to do": ([want("ana", R, previous="ana")], {"ana": has(R)}, POLICY, []),
    "new user": (
        [want("ana", R)],
        {},
        POLICY,
        [Create(("ana",), LDAP), Grant(("ana",), (R,)), DefaultAll(("ana",))],
    ),
    "new user without a role": (
        [want("ana")],
        {},
        POLICY,
        [Create(("ana",), LDAP), DefaultAll(("ana",))],
    ),
    "inactive and never seen": (
        [want("ana", R, active=False)],
        {},
        POLICY,
        [Create(("ana",), LDAP, locked=True)],
    ),
    "a crash right after the creation": (
        [want("ana", R)],
        {"ana": has(default_all=False)},
        POLICY,
        [Grant(("ana",), (R,)), DefaultAll(("ana",))],
    ),
    "mover": (
        [want("ana", W, previous="ana")],
        {"ana": has(R)},
        POLICY,
        [RevokeRoles(("ana",), (R,)), Grant(("ana",), (W,))],
    ),
    "a role that others gave stays": (
        [want("ana", R, previous="ana")],
        {"ana": has(R, F, privileges=True)},
        POLICY,
        [],
    ),
    "a role from a former role map goes": (
        [want("ana", previous="ana")],
        {"ana": has("gone")},
        POLICY,
        [RevokeRoles(("ana",), ("gone",))],
    ),
    "deactivated": (
        [want("ana", R, previous="ana", active=False)],
        {"ana": has(R, F, privileges=True)},
        POLICY,
        [
            StripRoles(("ana",)),
            StripPrivileges(("ana",)),
            KillQueries(("ana",)),
            Lock(("ana",)),
        ],
    ),
    "half locked": (
        [want("ana", previous="ana", active=False)],
        {"ana": has(door=Door.AJAR)},
        POLICY,
        gone("ana", roles=False),
    ),
    "already locked": (
        [want("ana", R, previous="ana", active=False)],
        {"ana": has(door=Door.LOCKED)},
        POLICY,
        [],
    ),
    "locked, and somebody gave a role": (
        [want("ana", previous="ana", active=False)],
        {"ana": has(F, door=Door.LOCKED)},
        POLICY,
        [StripRoles(("ana",)), KillQueries(("ana",))],
    ),
    "reactivated": (
        [want("ana", R, previous="ana")],
        {"ana": has(door=Door.LOCKED)},
        POLICY,
        [Unlock(("ana",), LDAP), Grant(("ana",), (R,))],
    ),
    "half locked but active": (
        [want("ana", R, previous="ana", login=KERBEROS)],
        {"ana": has(R, door=Door.AJAR)},
        POLICY,
        [Unlock(("ana",), KERBEROS)],
    ),
    "another login": (
        [want("ana", R, previous="ana", login=KERBEROS)],
        {"ana": has(R)},
        POLICY,
        [Authenticate(("ana",), KERBEROS)],
    ),
    "an http server is not seen": (
        [want(previous="ana", login=Login("http", (("server", "sso"),)))],
        {"ana": has(login=Login("http"))},
        POLICY,
        [],
    ),
    "default roles narrowed by hand": (
        [want("ana", R, previous="ana")],
        {"ana": has(R, default_all=False)},
        POLICY,
        [DefaultAll(("ana",))],
    ),
    "deleted": (
        [want(None, previous="ana")],
        {"ana": has(R)},
        POLICY,
        [*gone("ana"), Drop(("ana",))],
    ),
    "deleted, a crash before the drop": (
        [want(None, previous="ana")],
        {"ana": has(door=Door.LOCKED)},
        POLICY,
        [Drop(("ana",))],
    ),
    "deleted, kept locked": ([want(None, previous="ana")], {"ana": has(R)}, KEEP, gone("ana")),
    "deleted and gone": ([want(None, previous="ana")], {}, POLICY, []),
    "deleted and never seen": ([want(None)], {}, POLICY, []),
    "renamed": (
        [want("eva", R, previous="ana")],
        {"ana": has(W, F)},
        POLICY,
        [RevokeRoles(("ana",), (W,)), Rename("ana", "eva"), Grant(("eva",), (R,))],
    ),
    "renamed and deactivated": (
        [want("eva", previous="ana", active=False)],
        {"ana": has(R)},
        POLICY,
        [*gone("ana"), Rename("ana", "eva")],
    ),
    "renamed, and its user was lost": (
        [want("eva", R, previous="ana")],
        {},
        POLICY,
        [Create(("eva",), LDAP), Grant(("eva",), (R,)), DefaultAll(("eva",))],
    ),
    "renamed, both exist": (
        [want("eva", R, previous="ana")],
        {"ana": has(R), "eva": has(R)},
        POLICY,
        [*gone("ana"), Drop(("ana",))],
    ),
    "renamed to what a leaver left locked": (
        [want("eva", R, previous="ana")],
        {"ana": has(R), "eva": has(door=Door.LOCKED)},
        KEEP,
        [Drop(("eva",)), Rename("ana", "eva")],
    ),
    "re-hired under a name that a leaver left locked": (
        [want("ana", R)],
        {"ana": has(F, door=Door.LOCKED)},
        KEEP,
        [
            StripRoles(("ana",)),
            KillQueries(("ana",)),
            Drop(("ana",)),
            Create(("ana",), LDAP),
            Grant(("ana",), (R,)),
            DefaultAll(("ana",)),
        ],
    ),
    "re-hired in the same batch": (
        [want(None, id="1", previous="ana"), want("ana", R, id="2")],
        {"ana": has(R)},
        KEEP,
        [
            *gone("ana"),
            Drop(("ana",)),
            Create(("ana",), LDAP),
            Grant(("ana",), (R,)),
            DefaultAll(("ana",)),
        ],
    ),
    "a chain of renames": (
        [want("bo", R, id="1", previous="ana"), want("cy", W, id="2", previous="bo")],
        {"ana": has(R), "bo": has(W)},
        POLICY,
        [
            *gone("bo"),
            Drop(("bo",)),
            Rename("ana", "bo"),
            Create(("cy",), LDAP),
            Grant(("cy",), (W,)),
            DefaultAll(("cy",)),
        ],
    ),
    "a swap": (
        [want("bo", id="1", previous="ana"), want("ana", id="2", previous="bo")],
        {"ana": has(), "bo": has()},
        POLICY,
        [
            KillQueries(("ana", "bo")),
            Lock(("ana", "bo")),
            Drop(("ana", "bo")),
            Create(("ana", "bo"), LDAP),
            DefaultAll(("ana", "bo")),
        ],
    ),
    "its name refused, it still loses what it should": (
        [want("root", R, "gone", previous="ana", login=KERBEROS)],
        {"ana": has(R, W, default_all=False), "root": has(managed=False)},
        POLICY,
        [RevokeRoles(("ana",), (W,))],
    ),
    "its name refused, it is still deactivated": (
        [want("root", previous="ana", active=False)],
        {"ana": has(R), "root": has(managed=False)},
        POLICY,
        gone("ana"),
    ),
    "of two that had one name the one who left decides": (
        [want("eva", R, id="1", previous="ana"), want(None, id="2", previous="ana")],
        {"ana": has(R)},
        POLICY,
        [
            *gone("ana"),
            Drop(("ana",)),
            Create(("eva",), LDAP),
            Grant(("eva",), (R,)),
            DefaultAll(("eva",)),
        ],
    ),
    "users with the same change share a step": (
        [
            want(name, R, W, id=name, previous=name, login=login)
            for name, login in (("ana", LDAP), ("bo", LDAP), ("cy", KERBEROS))
        ],
        {"ana": has(), "bo": has(), "cy": has(login=KERBEROS)},
        POLICY,
        [Grant(("ana", "bo", "cy"), (R, W))],
    ),
    "one step a role where that makes fewer": (
        [
            want("ana", R, id="1", previous="ana"),
            want("bo", W, id="2", previous="bo"),
            want("cy", R, W, id="3", previous="cy"),
        ],
        {"ana": has(), "bo": has(), "cy": has()},
        POLICY,
        [Grant(("ana", "cy"), (R,)), Grant(("bo", "cy"), (W,))],
    ),
}


@pytest.mark.parametrize(("wanted", "users", "policy", "steps"), CASES.values(), ids=CASES.keys())
def test_a_plan_is(
    wanted: list[Wanted], users: dict[str, UserState], policy: Policy, steps: list[UserStep]
) -> None:
    assert list(plan(wanted, Actual(users, {**ROLES, "gone": RoleState()}), policy).steps) == steps


REFUSED: dict[str, tuple[list[Wanted], dict[str, UserState], Refusal]] = {
    "not managed": (
        [want("ana", R)],
        {"ana": has(managed=False)},
        Refusal("1", "ana", 493, "user 'ana' exists and is not managed"),
    ),
    "inactive, and a user of that name is not managed": (
        [want("ana", active=False)],
        {"ana": has(managed=False)},
        Refusal("1", "ana", 493, "user 'ana' exists and is not managed"),
    ),
    "left, and somebody took the marker away": (
        [want(None, previous="ana")],
        {"ana": has(managed=False)},
        Refusal("1", "ana", 493, "user 'ana' exists and is not managed"),
    ),
    "the name default": (
        [want("default")],
        {},
        Refusal("1", "default", None, "user 'default' is a protected name and is never touched"),
    ),
    "the provisioner's name": (
        [want("provisioner")],
        {"provisioner": has()},
        Refusal(
            "1", "provisioner", None, "user 'provisioner' is a protected name and is never touched"
        ),
    ),
    "a name of ours": (
        [want("scim_x")],
        {},
        Refusal("1", "scim_x", None, "user 'scim_x' is a protected name and is never touched"),
    ),
    "a role's name": (
        [want(R)],
        {},
        Refusal("1", R, None, "user 'reader' is the name of a role of this tenant"),
    ),
    "a role that is not there": (
        [want("ana", "gone", previous="ana")],
        {"ana": has()},
        Refusal("1", "ana", 511, "there is no role 'gone' for user 'ana' on this target"),
    ),
}


@pytest.mark.parametrize(("wanted", "users", "refusal"), REFUSED.values(), ids=REFUSED.keys())
def test_a_plan_refuses(
    wanted: list[Wanted], users: dict[str, UserState], refusal: Refusal
) -> None:
    planned = plan(wanted, Actual(users, ROLES), POLICY)
    assert (planned.steps, planned.refusals) == ((), (refusal,))


def test_of_two_with_one_name_the_one_that_has_it_keeps_it() -> None:
    wanted = [want("ana", R, id="1"), want("ana", R, id="2", previous="ana")]
    planned = plan(wanted, Actual({"ana": has(R)}, ROLES), POLICY)
    error = "user 'ana' belongs to another resource"
    assert (planned.steps, planned.refusals) == ((), (Refusal("1", "ana", 493, error),))


def test_a_missing_role_holds_up_no_other() -> None:
    planned = plan([want("ana", R, "gone", previous="ana")], Actual({"ana": has()}, ROLES), POLICY)
    assert planned.steps == (Grant(("ana",), (R,)),)
    assert [refusal.code for refusal in planned.refusals] == [511]
