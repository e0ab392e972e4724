"""Tenants: customer organisations, their role maps and the way their users log in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import ErrorDetails

from app.config.network import Network, parse_place
from app.config.pattern import check_pattern, wrong_places
from app.config.privileges import Privilege, parse_privilege, parse_table
from app.config.role import Amount, Every, FilterValue, Limit, SettingValue
from app.config.schemas import DeclaredSchema, Urn, clashes, resource_types
from app.config.section import Flag, Names, Section, SomeNames, Text, Whole, distinct, one_of
from app.config.template import Template
from app.scim.attribute import ResourceType
from app.scim.password import Hasher, Method
from app.scim.paths import NAME, URN
from app.scim.text import fold

LAST_YEAR = 2105
_DOMAIN = re.compile(r"[^\s@.]+(\.[^\s@.]+)+")


def _template(text: object) -> object:
    if isinstance(text, Template):
        return text
    if not isinstance(text, str):
        raise ValueError('must be text in quotes, as in "{userName}"')  # noqa: TRY004
    return Template.parse(text)


def _privilege(text: object) -> object:
    if isinstance(text, Privilege):
        return text
    if not isinstance(text, str):
        raise ValueError('must be text in quotes, as in "SELECT ON analytics.*"')  # noqa: TRY004
    return parse_privilege(text)


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise ValueError('is no domain; write it without @, as in "acme.example"')
    return fold(text)


def _table(text: str) -> str:
    parse_table(text)
    return text


def _possible(method: Method) -> Method:
    if not Hasher(method).is_possible:
        raise ValueError(f"{method} needs the package {method}; install it, or leave out hash")
    return method


def _end(moment: object) -> object:
    if not isinstance(moment, datetime):
        raise ValueError("must be a time without quotes, as in 2030-12-31T18:00:00Z")  # noqa: TRY004
    if moment.year > LAST_YEAR:
        raise ValueError(f"must be before {LAST_YEAR + 1}: ClickHouse tells no later time")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _attribute(path: str) -> str:
    urn, _, name = path.rpartition(":")
    if not (URN.fullmatch(urn) and NAME.fullmatch(name)):
        raise ValueError('is no attribute; write it as "urn:acme:scim:schemas:2.0:Contract:endsAt"')
    return path


UserNameTemplate = Annotated[Template, BeforeValidator(_template)]
End = Annotated[datetime, BeforeValidator(_end)]
AttributePath = Annotated[Text, AfterValidator(_attribute)]
Networks = Annotated[
    tuple[Annotated[Network, BeforeValidator(parse_place)], ...], AfterValidator(distinct)
]
SettingName = Annotated[str, StringConstraints(pattern=r"^[a-z_][A-Za-z0-9_.]*$")]


class Ldap(Section):
    method: Literal["ldap"] = "ldap"
    server: Text


class Kerberos(Section):
    method: Literal["kerberos"] = "kerberos"
    realm: Text | None = None


class SslCertificate(Section):
    method: Literal["ssl_certificate"] = "ssl_certificate"
    common_name: UserNameTemplate = Template.parse("{userName}")
    subject_alt_name: UserNameTemplate | None = None

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        return one_of(raw, ("common_name", "subject_alt_name"), required=False)


class SshKey(Section):
    """Public keys that the identity provider says, in an attribute of a declared extension."""

    method: Literal["ssh_key"] = "ssh_key"
    keys: AttributePath


class Http(Section):
    method: Literal["http"] = "http"
    server: Text
    scheme: Literal["BASIC"] = "BASIC"


class NoAuthentication(Section):
    """Nobody can log in; the account works through EXECUTE AS only."""

    method: Literal["no_authentication"] = "no_authentication"


class NoPassword(Section):
    """Everybody can log in with any password: for targets on this machine only."""

    method: Literal["no_password"] = "no_password"


class Password(Section):
    """Passwords that the identity provider pushes by SCIM; until one comes, nobody gets in."""

    method: Literal["password"] = "password"
    hash: Annotated[Literal["sha256", "bcrypt"], AfterValidator(_possible)] = "sha256"

    @property
    def hasher(self) -> Hasher:
        return Hasher(self.hash)


Authentication = Annotated[
    Ldap | Kerberos | SslCertificate | Http | Password | SshKey | NoAuthentication | NoPassword,
    Field(discriminator="method"),
]

METHODS = "ldap, kerberos, ssl_certificate, http, password, ssh_key, no_authentication, no_password"


class GroupMapping(Section):
    """Groups of the identity provider and what they give, on `targets` or on all of the tenant's.

    One group by displayName or by externalId, or all that fit a pattern. `until`: when it ends for
    everybody; `until_attribute`: the attribute that says when it ends for each.
    """

    group: Text | None = None
    external_id: Text | None = None
    pattern: Annotated[Text, AfterValidator(check_pattern)] | None = None
    roles: SomeNames
    targets: Names = ()
    default: Flag = True
    admin_option: Flag = False
    until: End | None = None
    until_attribute: AttributePath | None = None
    networks: Networks = ()

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from one_of(raw, ("group", "external_id", "pattern"), required=True)
        pattern, roles = raw.get("pattern"), raw.get("roles")
        for role in roles if isinstance(roles, list) else ():
            why = wrong_places(role, pattern if isinstance(pattern, str) else "")
            if why is not None:
                yield "roles", f"{role} {why}"


class RoleDefinition(Section):
    """A role that the software makes and keeps in shape, the same on each target of the tenant.

    `row_filters`: from `database.table` (see `parse_table`) to an expression, which belongs in
    parentheses where it becomes SQL.
    """

    grants: tuple[Annotated[Privilege, BeforeValidator(_privilege)], ...] = ()
    settings: Mapping[SettingName, SettingValue] = {}
    row_filters: Mapping[Annotated[str, AfterValidator(_table)], FilterValue] = {}
    parents: Names = ()
    quota: Mapping[Every, Mapping[Limit, Amount]] = {}

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        quota = raw.get("quota")
        for every, limits in quota.items() if isinstance(quota, dict) else ():
            if isinstance(limits, dict) and not limits:
                yield "quota", f"has no limit for {every}; give one, as in queries = 100"


class Tenant(Section):
    """One organisation. `verified_domains` are folded; empty means that any domain is taken.

    `applied_state`: whether answers hold the Applied extension on request only or by default.
    """

    targets: SomeNames
    user_name: UserNameTemplate = Template.parse("{userName}")
    marker_role: Text = "scim_managed"
    unmapped_groups: Literal["ignore", "create"] = "ignore"
    role_prefix: Text | None = None
    default_roles: Names = ()
    foreign_grants: Literal["report", "revoke"] = "report"
    until_attribute: AttributePath | None = None
    on_delete: Literal["drop", "lock"] = "drop"
    purge_after_days: Annotated[Whole, Field(ge=1, le=36_500)] | None = None
    verified_domains: Annotated[
        tuple[Annotated[str, AfterValidator(_domain)], ...], AfterValidator(distinct)
    ] = ()
    adopt_existing_users: Flag = False
    authentication: Authentication = NoAuthentication()
    further_authentication: tuple[Authentication, ...] = ()
    networks: Networks = ()
    default_database: Text | None = None
    settings_profile: Text | None = None
    groups: tuple[GroupMapping, ...] = ()
    roles: Mapping[Text, RoleDefinition] = {}
    schemas: Mapping[Urn, DeclaredSchema] = {}
    applied_state: Literal["request", "default"] = "request"

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if raw.get("further_authentication"):
            ways = (raw.get("authentication"), *raw["further_authentication"])
            lone = {"no_password", "no_authentication"}
            if any(not isinstance(way, dict) or way.get("method") in lone for way in ways):
                reason = "stands beside methods with which users log in; authentication is none"
                yield "further_authentication", reason
        for urn in clashes(raw.get("schemas")):
            yield "schemas", f"has {urn} twice; URNs ignore case"
        if "purge_after_days" in raw and raw.get("on_delete") != "lock":
            yield "purge_after_days", 'belongs to on_delete = "lock"; set that or remove this'
        if raw.get("unmapped_groups") == "create" and "role_prefix" not in raw:
            yield "role_prefix", "is missing; the roles that are made for groups begin with it"

    @property
    def resource_types(self) -> Mapping[str, ResourceType]:
        """Return the resource types of this tenant by name; made anew, so keep them."""
        return resource_types(self.schemas, self.applied_state)

    @property
    def hasher(self) -> Hasher | None:
        """Return what turns pushed passwords into hashes; None where passwords are ignored."""
        found = (method.hasher for method in self.ways if isinstance(method, Password))
        return next(found, None)

    @property
    def ways(self) -> tuple[Authentication, ...]:
        """Return all methods with which users log in."""
        return (self.authentication, *self.further_authentication)

    @classmethod
    def reason(cls, error: ErrorDetails) -> str:
        if error["type"] == "union_tag_not_found":
            return f"needs a method; allowed: {METHODS}"
        if error["type"] == "union_tag_invalid":
            tag = error["ctx"]["tag"]
            what = "is beyond this version" if tag == "jwt" else "is no method"
            return f"{tag} {what}; allowed: {METHODS}"
        return super().reason(error)
