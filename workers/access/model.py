"""What somebody should hold on a target, what is there, and the rules between: values, no I/O.

All roles here are without the marker role: a user's `managed` says whether it holds the marker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, NamedTuple

from app.config.privileges import Privilege
from app.config.protected import why_protected
from workers.access.reach import Grant


@dataclass(frozen=True, slots=True)
class Method:
    """One way to prove who somebody is: a method of CREATE USER, its parameters and its secret.

    `ldap` takes `server`; `kerberos` may take `realm`; `ssl_certificate` takes `common_name` or
    `subject_alt_name`, each as often as needed; `http` takes `server` and may take `scheme`;
    `no_authentication` and `no_password` take none. `sha256_password` and `bcrypt_password` take a
    `secret`: the stored text of a hash (`app.scim.password`), which nothing prints. `ssh_key` takes
    `key`, "TYPE BASE64", as often as needed.
    """

    method: str
    params: tuple[tuple[str, str], ...] = ()
    secret: str = field(default="", repr=False)

    @property
    def observable(self) -> Method:
        """The method as `system.users` shows it: no secrets, nothing of `http` and `ssh_key`."""
        shown = () if self.method in _UNSHOWN else tuple(sorted(self.params))
        return Method(self.method, shown)


LOCAL = "localhost"  # what `system.users` calls 127.0.0.1 and ::1


class HostKind(StrEnum):
    """What users' hosts may be, beside this machine; names and patterns begin with their kind."""

    IP = "ip"
    NAME = "name"
    REGEXP = "regexp"
    LIKE = "like"


def kind_of(host: str) -> HostKind | None:
    """Return the kind of one of a Login's `hosts`; None for LOCAL."""
    if host == LOCAL:
        return None
    word = host.partition(" ")[0] if " " in host else ""
    return HostKind(word) if word in {"name", "regexp", "like"} else HostKind.IP


_UNSHOWN = frozenset({"http", "ssh_key"})


@dataclass(frozen=True, slots=True)
class Login:
    """How a user proves who it is, and from where: its first method, and those `beside` it.

    `until`: VALID UNTIL of every method, in whole seconds since 1970; None for no end. `hosts`:
    where it may come from, as `parse_network` writes networks; empty for anywhere.
    """

    method: str
    params: tuple[tuple[str, str], ...] = ()
    until: int | None = None
    secret: str = field(default="", repr=False)
    beside: tuple[Method, ...] = ()
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, methods: Sequence[Method], *, until: int | None = None, hosts: Iterable[str] = ()
    ) -> Login:
        """Return the login of these methods, of which there is at least one."""
        first, *rest = methods
        return cls(
            first.method, first.params, until, first.secret, tuple(rest), tuple(sorted(hosts))
        )

    @property
    def methods(self) -> tuple[Method, ...]:
        return (Method(self.method, self.params, self.secret), *self.beside)

    @property
    def observable(self) -> Login:
        """The login as `system.users` shows it: no secrets, and of `http` no server or scheme.

        So a changed server of an `http` login is not seen on a target; nor is a password or an SSH
        key, of which the lane remembers the `digest` that it set.
        """
        shown = sorted((m.observable for m in self.methods), key=lambda m: (m.method, m.params))
        return Login.of(shown, until=self.until, hosts=self.hosts)

    @property
    def shut(self) -> Login:
        """The same without an end and a place, as it stands behind a locked door."""
        return replace(self, until=None, hosts=())

    @property
    def digest(self) -> str:
        """What tells its secrets and keys from others without telling them; empty for none."""
        hidden = [m.secret for m in self.methods if m.secret]
        hidden += [v for m in self.methods if m.method == "ssh_key" for _, v in m.params]
        return hashlib.sha256("\n".join(hidden).encode()).hexdigest()[:32] if hidden else ""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a user's session begins: its default database and its settings profiles."""

    database: str = ""
    profiles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the directory wants of one resource on one target.

    `name`: the ClickHouse name; None when the resource is deleted and nothing may be left.
    `previous`: the name under which it was last applied to this target, None if never.
    `admin`: the roles that it may hand on; `dormant`: those that are granted and no default role;
    `made`: those that are to be made, empty, where they are missing. All three are part of `roles`.
    `applied_digest`: of the login's secrets that were last set there, since no target shows them.
    `due`: when, in seconds since 1970, all this changes though nobody changes anything.
    `is_purged`: it was deleted so long ago that its user goes, whatever `Policy.drop_deleted` says.
    """

    resource_id: str
    name: str | None
    previous: str | None = None
    active: bool = True
    roles: frozenset[str] = frozenset()
    admin: frozenset[str] = frozenset()
    dormant: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()
    login: Login = Login("no_authentication")
    home: Home = Home()
    applied_digest: str = ""
    due: int | None = None
    is_purged: bool = False

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

    `admin`: the roles that it may hand on. `default_all`: DEFAULT ROLE ALL, except for the roles in
    `dormant`; else those `listed` are the default roles. `privileges`: what it holds itself and not
    through roles, as text, the first of it. `manages_access`: as of a role. `entity`: its id. These
    two are told by the whole query only.
    """

    managed: bool
    roles: frozenset[str] = frozenset()
    admin: frozenset[str] = frozenset()
    login: Login = Login("no_authentication")
    door: Door = Door.OPEN
    default_all: bool = True
    dormant: frozenset[str] = frozenset()
    privileges: tuple[str, ...] = ()
    home: Home = Home()
    listed: frozenset[str] = frozenset()
    manages_access: bool = field(default=False, compare=False)
    entity: str = field(default="", compare=False)

    @property
    def has_privileges(self) -> bool:
        return bool(self.privileges)

    @property
    def is_held(self) -> bool:
        """Whether an operator holds a user of ours on the target itself."""
        return self.managed and self.door is Door.HELD


@dataclass(frozen=True, slots=True)
class RoleState:
    """A role that exists on the target.

    `marked`: it holds the marker role, so it is ours. `manages_access`: it holds a right with which
    its holder could give itself any other, so nobody gets it. `shape`: where that was asked.
    """

    marked: bool = False
    manages_access: bool = False
    shape: Shape | None = None


@dataclass(frozen=True, slots=True)
class Actual:
    """What exists of the users and roles that were asked for; a name that is missing does not.

    `written`: how the server writes the expressions of row filters.
    """

    users: Mapping[str, UserState]
    roles: Mapping[str, RoleState]
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What a user was before it was adopted, to give it back.

    `entity`: its id on the target, so that another user of the name is not taken for it.
    `privileges`: what it held itself, each as a GRANT or REVOKE of the server's own without TO or
    FROM and its name. `listed`: its default roles where they were not all. Its log-in methods,
    settings and default database are never touched, so they are not here.
    """

    entity: str
    roles: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()
    default_all: bool = True
    dormant: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    until: int | None = None
    privileges: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: UserState, privileges: Iterable[str] = ()) -> Adopted:
        return cls(
            entity=state.entity,
            roles=tuple(sorted(state.roles)),
            admin=tuple(sorted(state.admin)),
            default_all=state.default_all,
            dormant=tuple(sorted(state.dormant)),
            listed=tuple(sorted(state.listed)),
            hosts=state.login.hosts,
            until=state.login.until,
            privileges=tuple(privileges),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one tenant on one target.

    `vocabulary`: the roles that the tenant's role map can give, now or before. Other roles of
    somebody who stays active, and privileges that it holds itself, are foreign: they are taken only
    if `revoke_foreign`. `adopt_existing`: whether users that were there before become a resource's;
    `consents` says "yes" or "no" for single names, `adopted` what such users were.
    `protected_names`: never created, changed or dropped; `default` and
    `scim_*` never are. `protected_roles`: never given, beside those of the server's administrators.
    `markers`: the marker roles of all tenants of this target.
    `unmarked`: users that were applied, by name, and that may have lost the marker because the role
    was dropped. `methods`: those that the tenant's users can have.
    """

    marker: str = "scim_managed"
    vocabulary: frozenset[str] = frozenset()
    drop_deleted: bool = True
    revoke_foreign: bool = False
    adopt_existing: bool = False
    consents: Mapping[str, str] = field(default_factory=dict)
    adopted: Mapping[str, Adopted] = field(default_factory=dict)
    protected_names: frozenset[str] = frozenset()
    protected_roles: frozenset[str] = frozenset()
    markers: frozenset[str] = frozenset()
    unmarked: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()

    def adopts(self, name: str) -> bool:
        """Whether a user of this name that was there before becomes a resource's."""
        return self.consents.get(name, "yes" if self.adopt_existing else "no") == "yes"

    def record_of(self, name: str, state: UserState | None) -> Adopted | None:
        """Return what this user was before it was adopted; None if it was not."""
        record = self.adopted.get(name)
        return record if record and state and state.entity == record.entity else None

    def has_lost_mark(self, name: str, state: UserState) -> bool:
        """Whether this is a user of ours without the marker, as far as anybody can tell.

        It bears a name that was applied, and is as this software leaves users: nobody has given it
        anything, and it logs in as the tenant's users do. Or it is the very user that was adopted.
        """
        if state.managed or name not in self.unmarked or self.protects(name):
            return False
        return self.record_of(name, state) is not None or not (
            state.privileges
            or state.manages_access
            or not state.roles <= self.vocabulary
            or any(method.method not in self.methods for method in state.login.methods)
        )

    def protects(self, name: str) -> bool:
        return name == "default" or name.startswith("scim_") or name in self.protected_names

    def why_never_given(self, role: str) -> str | None:
        """Return why nobody gets this role, whatever the role map says; None if it may be given."""
        if role in self.markers:
            return "marks who is managed"
        return why_protected(role, self.marker, self.protected_roles)


@dataclass(frozen=True, slots=True)
class Foreign:
    """What others gave to a managed user, or to a role that the configuration defines.

    `name`: whose it is; `kind` and `what`: such as a "role" and its name.
    """

    name: str
    kind: Literal["role", "privilege", "setting", "parent role"]
    what: str
    is_role: bool = False


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


class Setting(NamedTuple):
    """A setting of a role. None: no value, no bound. `const`: nobody may change it."""

    name: str
    value: int | float | str | bool | None = None
    min: int | float | str | None = None
    max: int | float | str | None = None
    const: bool = False


class RowFilter(NamedTuple):
    """Which rows of a table a role sees; the expression is the operator's SQL.

    Rows that one role shows are shown whatever another hides; those that a `restrictive` filter
    hides are hidden.
    """

    database: str
    table: str
    expression: str
    restrictive: bool = False


class Interval(NamedTuple):
    """What each user of a role may use up in so many seconds: (what, how much)."""

    seconds: int
    limits: tuple[tuple[str, int | float], ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a defined role is on the target: everything that its definition is about.

    `row_filters` and `quota` are those that bear our name; filters as the server writes them.
    """

    grants: frozenset[Grant] = frozenset()
    settings: tuple[Setting, ...] = ()
    profiles: frozenset[str] = frozenset()
    parents: frozenset[str] = frozenset()
    row_filters: tuple[RowFilter, ...] = ()
    quota: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """A role that the configuration defines: the same on every target of the tenant.

    `parents`: roles that it holds. `is_open`: made for a group and left to the target's
    administrators, who decide what it gives.
    """

    name: str
    grants: tuple[Privilege, ...] = ()
    settings: tuple[Setting, ...] = ()
    row_filters: tuple[RowFilter, ...] = ()
    parents: tuple[str, ...] = ()
    quota: tuple[Interval, ...] = ()
    is_open: bool = False
