"""Which roles a tenant's groups give: the role map as its readers need it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from app.config.tenant import Tenant
from app.scim.text import fold


@dataclass(frozen=True, slots=True)
class Mapping:
    """What one group gives. `key`: "name:" + the folded displayName, or "ext:" + externalId."""

    key: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoleMap:
    """`mappings` sorted by key, one each. `vocabulary`: all roles that can come out of it."""

    mappings: tuple[Mapping, ...]
    default_roles: frozenset[str]
    vocabulary: frozenset[str]

    @classmethod
    def of(cls, tenant: Tenant) -> RoleMap:
        """Return the role map of `tenant`; entries about the same group become one."""
        merged: dict[str, set[str]] = {}
        for entry in tenant.groups:
            key = name_key(entry.group) if entry.group is not None else f"ext:{entry.external_id}"
            merged.setdefault(key, set()).update(entry.roles)
        default = frozenset(tenant.default_roles)
        return cls(
            mappings=tuple(Mapping(key, tuple(sorted(merged[key]))) for key in sorted(merged)),
            default_roles=default,
            vocabulary=default.union(*merged.values()),
        )

    def keys_for(self, display_name: str, external_id: str | None) -> tuple[str, ...]:
        """Return the keys of the mappings that fit a group of this name and externalId.

        Names ignore case, externalId does not (RFC 7643 §3.1).
        """
        wanted = {name_key(display_name)}
        if external_id is not None:
            wanted.add(f"ext:{external_id}")
        return tuple(mapping.key for mapping in self.mappings if mapping.key in wanted)

    def roles_for(self, linked: Iterable[str]) -> frozenset[str]:
        """Return the roles of the mappings with the keys `linked`, without the default roles.

        Keys that the map no longer has give nothing: the file was changed.
        """
        wanted = frozenset(linked)
        return frozenset(
            role for mapping in self.mappings if mapping.key in wanted for role in mapping.roles
        )


def name_key(display_name: str) -> str:
    return f"name:{fold(display_name)}"


def digest(tenant: Tenant) -> str:
    """Return a hash of everything in `tenant` that changes what its users hold on a target.

    Equal for files that differ in order only. Targets are left out: each lane knows its own.
    """
    role_map = RoleMap.of(tenant)
    told = tenant.model_dump(
        mode="json",
        exclude={
            "targets",
            "groups",
            "default_roles",
            "verified_domains",
            "schemas",
            "applied_state",
        },
    )
    told["mappings"] = [[mapping.key, mapping.roles] for mapping in role_map.mappings]
    told["default_roles"] = sorted(role_map.default_roles)
    text = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
