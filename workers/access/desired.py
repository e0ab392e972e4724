"""What the directory and the role map together want of a user on a target: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from app.config.network import as_host
from app.config.privileges import parse_table
from app.config.role import BoundedSetting, FilterTable
from app.config.role import seconds as seconds_of
from app.config.rolemap import Gift, RoleMap
from app.config.template import Template
from app.config.tenant import (
    Authentication,
    Http,
    Kerberos,
    Ldap,
    NoAuthentication,
    NoPassword,
    Password,
    SshKey,
    SslCertificate,
    Tenant,
)
from app.config.tenant import (
    RoleDefinition as ConfiguredRole,
)
from app.errors import InvalidValue
from app.scim.agents import AGENT
from app.scim.password import parse_hashed
from app.scim.schema import USER
from app.scim.text import fold
from app.scim.validity import seconds, valid_until
from workers.access.model import (
    Home,
    Interval,
    Login,
    Method,
    RoleDefinition,
    RowFilter,
    Setting,
    Wanted,
)
from workers.access.statements.quoting import FIRST_END

_SSH_KEY = re.compile(r"(?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/]{16,}={0,2}")
NO_HOME = Home()
Kind = Literal["user", "agent"]
_NAMING = {"user": USER.naming.name, "agent": AGENT.naming.name}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a document describes, as far as ClickHouse goes: a person or an agent.

    `active` is true where the document is silent (RFC 7643 §4.1.1 leaves the default to us; every
    identity provider means true). `until`: the end of validity in whole seconds since 1970.
    """

    name: str
    active: bool
    until: int | None


def identity(kind: Kind, document: Mapping[str, Any]) -> Identity:
    """Return who `document`, as the directory holds it, describes."""
    return Identity(document[_NAMING[kind]], document.get("active", True), valid_until(document))


def _end_in(path: str | None, document: Mapping[str, Any]) -> int | None:
    """Return the end, in seconds since 1970, that an attribute says; None for none.

    `path` is of a declared extension: its URN, a colon and the attribute's name.
    """
    if path is None:
        return None
    urn, _, name = path.rpartition(":")
    return seconds(document.get(urn, {}).get(name))


def _soonest(*ends: int | None) -> int | None:
    return min((end for end in ends if end is not None), default=None)


@dataclass(slots=True)
class _Holding:
    """What all gifts of somebody come to. `due`: when the first of them ends."""

    now_s: float
    due: int | None = None
    roles: set[str] = field(default_factory=set)
    default: set[str] = field(default_factory=set)
    admin: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)

    def take(self, gift: Gift, document: Mapping[str, Any]) -> None:
        """Add what the gift gives, unless it is over."""
        end = _soonest(gift.until, _end_in(gift.until_attribute, document))
        if end is not None and end <= self.now_s:
            return
        self.due = _soonest(self.due, end)
        self.roles.update(gift.roles)
        self.default.update(gift.roles if gift.is_default else ())
        self.admin.update(gift.roles if gift.is_admin else ())
        self.made.update(gift.roles if gift.is_made else ())
        self.hosts.update(gift.hosts)


@dataclass(frozen=True, slots=True)
class Rules:
    """How one tenant's resources become users of one target: the configuration, as far as access
    goes. `until_attribute`: what says when somebody's access as a whole ends. `hosts`: where users
    may come from, if none of their groups says so.
    """

    tenant: str
    user_name: Template
    ways: tuple[Authentication, ...]
    role_map: RoleMap
    domains: tuple[str, ...]
    until_attribute: str | None = None
    hosts: tuple[str, ...] = ()
    home: Home = NO_HOME

    @classmethod
    def of(cls, name: str, tenant: Tenant, target: str | None = None) -> Rules:
        return cls(
            tenant=name,
            user_name=tenant.user_name,
            ways=tenant.ways,
            role_map=RoleMap.of(tenant, target),
            domains=tenant.verified_domains,
            until_attribute=tenant.until_attribute,
            hosts=tuple(sorted(map(as_host, tenant.networks))),
            home=Home(
                tenant.default_database or "",
                frozenset({tenant.settings_profile} if tenant.settings_profile else ()),
            ),
        )

    @property
    def methods(self) -> frozenset[str]:
        """The log-in methods that users may have, by ClickHouse's names."""
        found = {"no_authentication"}
        for way in self.ways:
            if isinstance(way, Password):
                found |= {"sha256_password", "bcrypt_password"}
            else:
                found.add(way.method)
        return frozenset(found)

    def name(self, user_name: str) -> str:
        """Return the ClickHouse name of the person with this userName, or of the agent so named.

        Raises InvalidValue where the local part is the name and the domain is not the tenant's:
        an agent `ana@elsewhere` would be `ana@acme.example`. `user_name_behind` relies on it.
        """
        domain = user_name.rpartition("@")[2]
        if self.user_name.localpart and fold(domain) not in self.domains:
            raise InvalidValue(f"the name must be an address at {' or '.join(self.domains)}")
        return self.user_name.render(tenant=self.tenant, user_name=user_name)

    def user_name_behind(self, name: str) -> str | None:
        """Return the userName, in some case, that gives this ClickHouse name; None if none does."""
        prefix, suffix = self.user_name.around(self.tenant)
        if not (name.startswith(prefix) and name.endswith(suffix)):
            return None
        middle = name[len(prefix) : len(name) - len(suffix)]
        return f"{middle}@{self.domains[0]}" if self.user_name.localpart else middle

    def wanted(
        self,
        resource_id: str,
        document: Mapping[str, Any] | None,
        groups: frozenset[str],
        links: Mapping[str, str],
        previous: str | None,
        *,
        names: Mapping[str, str] | None = None,
        kind: Kind = "user",
        now_s: float = 0,
        secret: str = "",
        applied_digest: str = "",
    ) -> Wanted:
        """Return what this resource should have.

        `document` None: it is deleted. `groups`: ids of the groups it is in. `links`: the group id
        behind each key of the role map. `names`: what groups are known as that give something for
        their names. `now_s`: seconds since 1970; from the end of its validity on a resource is
        inactive. `secret`: the stored text of its password's hash, if it has one.
        """
        if document is None:
            return Wanted(resource_id=resource_id, name=None, previous=previous, active=False)
        who = identity(kind, document)
        until = _soonest(who.until, _end_in(self.until_attribute, document))
        is_over = until is not None and until <= max(now_s, FIRST_END)
        held = _Holding(now_s)
        held.take(Gift(tuple(self.role_map.default_roles)), document)
        for _, gift in self.role_map.gifts(groups, links, names or {}):
            held.take(gift, document)
        return Wanted(
            resource_id=resource_id,
            name=self.name(who.name),
            previous=previous,
            active=who.active and not is_over,
            roles=frozenset(held.roles),
            admin=frozenset(held.admin),
            dormant=frozenset(held.roles - held.default),
            made=frozenset(held.made),
            login=replace(
                self.login(who.name, secret, document, held.hosts),
                until=None if is_over else until,
            ),
            home=self.home,
            applied_digest=applied_digest,
            due=None if is_over else _soonest(until, held.due),
        )

    def made_for(self, names: Mapping[str, str], links: Mapping[str, str]) -> frozenset[str]:
        """Return the roles that are to be made for these groups: what they are known as, by id."""
        gifts = self.role_map.gifts(names, links, names)
        return frozenset(role for _, gift in gifts if gift.is_made for role in gift.roles)

    def login(
        self,
        user_name: str,
        secret: str = "",
        document: Mapping[str, Any] | None = None,
        hosts: Iterable[str] = (),
    ) -> Login:
        """Return how somebody logs in, from these hosts or the tenant's; whoever has no password
        and no key yet can't.

        A hash of another method than the configured one stays good: it was made before the file
        was changed.
        """
        methods = [self._method(way, user_name, secret, document or {}) for way in self.ways]
        found = [method for method in methods if method is not None]
        return Login.of(found or [Method("no_authentication")], hosts=tuple(hosts) or self.hosts)

    def _method(
        self, way: Authentication, user_name: str, secret: str, document: Mapping[str, Any]
    ) -> Method | None:
        match way:
            case Ldap(server=server):
                return Method("ldap", (("server", server),))
            case Kerberos(realm=realm):
                return Method("kerberos", (("realm", realm),) if realm else ())
            case SslCertificate(common_name=common, subject_alt_name=alternative):
                name = (alternative or common).render(tenant=self.tenant, user_name=user_name)
                key = "common_name" if alternative is None else "subject_alt_name"
                return Method("ssl_certificate", ((key, name),))
            case Http(server=server, scheme=scheme):
                return Method("http", (("server", server), ("scheme", scheme)))
            case Password():
                if not secret:
                    return None
                return Method(f"{parse_hashed(secret).method}_password", secret=secret)
            case SshKey(keys=path):
                keys = tuple(("key", key) for key in _ssh_keys(path, document))
                return Method("ssh_key", keys) if keys else None
            case NoAuthentication():
                return Method("no_authentication")
            case NoPassword():
                return Method("no_password")
            case _:
                assert_never(way)


def _ssh_keys(path: str, document: Mapping[str, Any]) -> list[str]:
    """Return the public keys of an attribute, "TYPE BASE64" each; what is none is passed over."""
    urn, _, name = path.rpartition(":")
    value = document.get(urn, {}).get(name) or ()
    lines = (value,) if isinstance(value, str) else value
    found = (_SSH_KEY.match(line.strip()) for line in lines)
    return sorted({match[0] for match in found if match is not None})


def _bounds(value: object) -> tuple[Any, ...]:
    if isinstance(value, BoundedSetting):
        return (value.value, value.min, value.max, value.const)
    return (value,)


def _filter(value: FilterTable | str) -> tuple[str, bool]:
    return (value, False) if isinstance(value, str) else (value.filter, value.restrictive)


def role_definitions(roles: Mapping[str, ConfiguredRole]) -> dict[str, RoleDefinition]:
    """Return the configured roles in the form that plans compare."""
    return {
        name: RoleDefinition(
            name=name,
            grants=role.grants,
            settings=tuple(
                Setting(setting, *_bounds(value))
                for setting, value in sorted(role.settings.items())
            ),
            row_filters=tuple(
                RowFilter(*parse_table(table), *_filter(value))
                for table, value in sorted(role.row_filters.items())
            ),
            parents=role.parents,
            quota=tuple(
                Interval(seconds_of(every), tuple(sorted(limits.items())))
                for every, limits in sorted(role.quota.items(), key=lambda one: seconds_of(one[0]))
            ),
        )
        for name, role in roles.items()
    }
