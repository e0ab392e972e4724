"""What the directory and the role map together want of a user on a target: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.config.privileges import parse_table
from app.config.rolemap import RoleMap
from app.config.template import Template
from app.config.tenant import (
    Authentication,
    Http,
    Kerberos,
    Ldap,
    NoAuthentication,
    NoPassword,
    SslCertificate,
    Tenant,
)
from app.config.tenant import (
    RoleDefinition as ConfiguredRole,
)
from workers.access.model import Login, RoleDefinition, Wanted


@dataclass(frozen=True, slots=True)
class Rules:
    """How one tenant's resources become users: the configuration, as far as access goes."""

    tenant: str
    user_name: Template
    authentication: Authentication
    role_map: RoleMap
    domains: tuple[str, ...]

    @classmethod
    def of(cls, name: str, tenant: Tenant) -> Rules:
        return cls(
            tenant=name,
            user_name=tenant.user_name,
            authentication=tenant.authentication,
            role_map=RoleMap.of(tenant),
            domains=tenant.verified_domains,
        )

    def name(self, user_name: str) -> str:
        """Return the ClickHouse name of the person with this userName."""
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
    ) -> Wanted:
        """Return what this resource should have.

        `document` None: it is deleted. `groups`: ids of the groups it is in. `links`: the group id
        behind each key of the role map. `active` is true where the document is silent (RFC 7643
        §4.1.1 leaves the default to us; every identity provider means true).
        """
        if document is None:
            return Wanted(resource_id=resource_id, name=None, previous=previous, active=False)
        linked = (key for key, group in links.items() if group in groups)
        return Wanted(
            resource_id=resource_id,
            name=self.name(document["userName"]),
            previous=previous,
            active=document.get("active", True),
            roles=self.role_map.default_roles | self.role_map.roles_for(linked),
            login=self.login(document["userName"]),
        )

    def login(self, user_name: str) -> Login:
        match self.authentication:
            case Ldap(server=server):
                return Login("ldap", (("server", server),))
            case Kerberos(realm=realm):
                return Login("kerberos", (("realm", realm),) if realm else ())
            case SslCertificate(common_name=template):
                common_name = template.render(tenant=self.tenant, user_name=user_name)
                return Login("ssl_certificate", (("common_name", common_name),))
            case Http(server=server, scheme=scheme):
                return Login("http", (("server", server), ("scheme", scheme)))
            case NoAuthentication():
                return Login("no_authentication")
            case NoPassword():
                return Login("no_password")


def role_definitions(roles: Mapping[str, ConfiguredRole]) -> dict[str, RoleDefinition]:
    """Return the configured roles in the form that plans compare."""
    return {
        name: RoleDefinition(
            name=name,
            grants=role.grants,
            settings=tuple(sorted(role.settings.items())),
            row_filters=tuple(
                (*parse_table(table), expression)
                for table, expression in sorted(role.row_filters.items())
            ),
        )
        for name, role in roles.items()
    }
