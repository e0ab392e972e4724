"""What a plan is made of: a closed set of changes, each of many users or of one role.

A step is a value; `statements.render` turns it into SQL, `simulate` into its effect.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from app.config.privileges import Privilege
from workers.access.model import Home, Interval, Login, Setting
from workers.access.reach import Grant as Held


@dataclass(frozen=True, slots=True)
class RevokeRoles:
    """Take these roles from these users. Open sessions lose them at once."""

    names: tuple[str, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevokeAdmin:
    """Take the right to hand these roles on; the roles stay."""

    names: tuple[str, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StripRoles:
    """Take every role but the marker, also those that others gave."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StripPrivileges:
    """Take every privilege that the users hold themselves."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KillQueries:
    """Stop what the users are running: a revoked right doesn't end a query that has begun."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """HOST NONE, and VALID UNTIL in the past on every method."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """The same with an end that says: an operator holds them, and no lane opens it again."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drop:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rename:
    """ALTER USER … RENAME TO: keeps the entity's id, its grants and its open sessions."""

    previous: str
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        return (self.previous,)


@dataclass(frozen=True, slots=True)
class Create:
    """New users that hold the marker role and nothing else, from the same entity write; `locked`
    ones can't log in from that same write on.
    """

    names: tuple[str, ...]
    login: Login
    locked: bool = False


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Replace the log-in methods of users whose door is open."""

    names: tuple[str, ...]
    login: Login


@dataclass(frozen=True, slots=True)
class Unlock:
    """Set the log-in method again, without an end, and HOST ANY."""

    names: tuple[str, ...]
    login: Login


@dataclass(frozen=True, slots=True)
class Grant:
    """Give these roles; with `admin` also the right to hand them on."""

    names: tuple[str, ...]
    roles: tuple[str, ...]
    admin: bool = False


@dataclass(frozen=True, slots=True)
class DefaultAll:
    """DEFAULT ROLE ALL: every role, also one granted later, is active at log-in; those that are
    `dormant` only once the user says SET ROLE.
    """

    names: tuple[str, ...]
    dormant: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settle:
    """Give these users this home: default database and settings profiles. Settings stay."""

    names: tuple[str, ...]
    home: Home
    leaving: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CreateRole:
    role: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class MarkRole:
    """Grant the marker role to a role, so that the target itself says whose it is."""

    role: str


@dataclass(frozen=True, slots=True)
class RevokePrivilege:
    role: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class GrantPrivilege:
    role: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class SetRowFilter:
    """Create the role's row policy on this table if it is missing, and give it this expression."""

    role: str
    database: str
    table: str
    expression: str
    restrictive: bool = False


@dataclass(frozen=True, slots=True)
class DropRowFilter:
    role: str
    database: str
    table: str


@dataclass(frozen=True, slots=True)
class SetSettings:
    """Set these settings of a role, and let go of those in `gone`, and of these profiles."""

    role: str
    settings: tuple[Setting, ...] = ()
    gone: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TakeGrants:
    """Take what a role holds and its definition does not give it."""

    role: str
    grants: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class GrantParents:
    role: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevokeParents:
    role: str
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetQuota:
    """Create the role's quota if it is missing, and give it these limits, none in `gone`."""

    role: str
    quota: tuple[Interval, ...]
    gone: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DropQuota:
    role: str


@dataclass(frozen=True, slots=True)
class Adopt:
    """Give the marker role to users that were there before: from now on they are managed."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """Give the marker role again to users that lost it when the role was dropped."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reopen:
    """Let users log in again as they could, from these hosts and until then; methods stay."""

    names: tuple[str, ...]
    hosts: tuple[str, ...]
    until: int | None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Give a user the privileges again that it held itself, as the server told them."""

    names: tuple[str, ...]
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DefaultList:
    """DEFAULT ROLE: these and no others."""

    names: tuple[str, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """Take the marker role: the users are nobody's any more."""

    names: tuple[str, ...]


Taking: TypeAlias = (
    RevokeRoles | RevokeAdmin | StripRoles | StripPrivileges | KillQueries | Lock | Hold | Drop
)
Giving: TypeAlias = (
    Adopt
    | Remark
    | Rename
    | Create
    | Authenticate
    | Unlock
    | Reopen
    | Settle
    | Grant
    | GiveBack
    | DefaultAll
    | DefaultList
    | Release
)
UserStep: TypeAlias = Taking | Giving
ShapingStep: TypeAlias = (
    RevokePrivilege
    | GrantPrivilege
    | SetRowFilter
    | DropRowFilter
    | SetSettings
    | TakeGrants
    | GrantParents
    | RevokeParents
    | SetQuota
    | DropQuota
)
RoleStep: TypeAlias = CreateRole | MarkRole | ShapingStep
Step: TypeAlias = UserStep | RoleStep

TAKING = (RevokeRoles, RevokeAdmin, StripRoles, StripPrivileges, KillQueries, Lock, Hold, Drop)
ROLE_STEPS = (
    CreateRole,
    MarkRole,
    RevokePrivilege,
    GrantPrivilege,
    SetRowFilter,
    DropRowFilter,
    SetSettings,
    TakeGrants,
    GrantParents,
    RevokeParents,
    SetQuota,
    DropQuota,
)
_S = TypeVar("_S", bound=UserStep)


def narrow(step: _S, names: tuple[str, ...]) -> _S:
    """Return the same step for these names of its own only; a Rename has one and stays whole."""
    return step if isinstance(step, Rename) else replace(step, names=names)
