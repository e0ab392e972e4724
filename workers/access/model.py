"""What somebody should hold on a target, what is there, and the rules between: values, no I/O.

All roles here are without the marker role: a user's `managed` says whether it holds the marker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from app.config.privileges import Privilege


@dataclass(frozen=True, slots=True)
class Login:
    """How a user proves who it is: a method of CREATE USER, and its parameters by name.

    `ldap` takes `server`; `kerberos` may take `realm`; `ssl_certificate` takes `common_name` or
    `subject_alt_name`, each as often as needed; `http` takes `server` and may take `scheme`;
    `no_authentication` and `no_password` take none. `sha256_password` and `bcrypt_password` take a
    `secret`: the stored text of a hash (`app.scim.password`), which nothing prints.
    `until`: VALID UNTIL, in whole seconds since 1970; None for no end.
    """

    method: str
    params: tuple[tuple[str, str], ...] = ()
    until: int | None = None
    secret: str = field(default="", repr=False)

    @property
    def observable(self) -> Login:
        """The login as `system.users` shows it: no secrets, and of `http` no server or scheme.

        So a changed server of an `http` login is not seen on a target; nor is a password, of which
        the lane remembers the `digest` that it set.
        """
        params = () if self.method == "http" else tuple(sorted(self.params))
        return Login(self.method, params, self.until)

    @property
    def endless(self) -> Login:
        """The same without an end, as it stands behind a locked door."""
        return replace(self, until=None)

    @property
    def digest(self) -> str:
        """What tells this secret from another without telling it; empty where there is none."""
        return hashlib.sha256(self.secret.encode()).hexdigest()[:32] if self.secret else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the directory wants of one resource on one target.

    `name`: the ClickHouse name; None when the resource is deleted and nothing may be left.
    `previous`: the name under which it was last applied to this target, None if never.
    `applied_digest`: of the login's secret that was last set there, since no target shows it.
    """

    resource_id: str
    name: str | None
    previous: str | None = None
    active: bool = True
    roles: frozenset[str] = frozenset()
    login: Login = Login("no_authentication")
    applied_digest: str = ""

    @property
    def staying(self) -> Wanted:
        """The same under the name that it has now."""
        return self if self.name is None else replace(self, name=self.previous)

    @property
    def is_secret_due(self) -> bool:
        """Whether the login has a secret that is not known to be on the target."""
        return self.login.digest not in {"", self.applied_digest}


class Door(StrEnum):
    """Whether a user can log in.

    OPEN: some HOST is allowed, and no method ends, or all at the login's `until`. LOCKED: HOST
    NONE, and every method's VALID UNTIL has passed. HELD: the same, and an operator keeps it so:
    the end is one that nothing else sets, and no plan opens it. AJAR: anything between, such as
    one lock of the two.
    Two locks, since VALID UNTIL was lost on a restart in 24.3 and 24.5 (ClickHouse#66405).
    """

    OPEN = "open"
    AJAR = "ajar"
    LOCKED = "locked"
    HELD = "held"

    @property
    def is_shut(self) -> bool:
        return self in {Door.LOCKED, Door.HELD}


@dataclass(frozen=True, slots=True, kw_only=True)
class UserState:
    """A user that exists on the target.

    `default_all`: DEFAULT ROLE ALL without exceptions. `has_privileges`: holds privileges itself,
    not only through roles.
    """

    managed: bool
    roles: frozenset[str] = frozenset()
    login: Login = Login("no_authentication")
    door: Door = Door.OPEN
    default_all: bool = True
    has_privileges: bool = False

    @property
    def is_held(self) -> bool:
        """Whether an operator holds a user of ours on the target itself."""
        return self.managed and self.door is Door.HELD


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role that exists on the target. `marked`: it holds the marker role, so it is ours."""

    marked: bool = False


@dataclass(frozen=True, slots=True)
class Actual:
    """What exists of the users and roles that were asked for; a name that is missing does not."""

    users: Mapping[str, UserState]
    roles: Mapping[str, RoleState]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one tenant on one target.

    `vocabulary`: the roles that the tenant's role map can give, now or before: only these are taken
    from somebody who stays active; a role from elsewhere is its giver's business.
    `protected_names`: never created, changed or dropped; `default` and `scim_*` never are.
    """

    marker: str = "scim_managed"
    vocabulary: frozenset[str] = frozenset()
    drop_deleted: bool = True
    protected_names: frozenset[str] = frozenset()

    def protects(self, name: str) -> bool:
        return name == "default" or name.startswith("scim_") or name in self.protected_names


@dataclass(frozen=True, slots=True)
class Refusal:
    """A resource that can't have what it should. `code`: ClickHouse's for it, if there is one."""

    resource_id: str
    name: str
    code: int | None
    error: str


@dataclass(frozen=True, slots=True)
class RoleRefusal:
    """A role of the configuration that can't be kept in shape on this target."""

    name: str
    code: int | None
    error: str


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """A role that the configuration defines: the same on every target of the tenant.

    `row_filters`: (database, table, expression); the expression is the operator's SQL.
    """

    name: str
    grants: tuple[Privilege, ...] = ()
    settings: tuple[tuple[str, int | float | str | bool], ...] = ()
    row_filters: tuple[tuple[str, str, str], ...] = ()
