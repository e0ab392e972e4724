"""Who holds what on a target, read from its system tables by its administrator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.config.tenant import Tenant
from app.sandbox.cast import Cast, Expected, RoleMap, State, expected_access
from app.sandbox.session import Session

_USERS = """
SELECT
    name,
    empty(host_ip) AND empty(host_names) AND empty(host_names_regexp) AND empty(host_names_like)
FROM system.users
"""
_ROLES = "SELECT user_name, granted_role_name FROM system.role_grants WHERE user_name IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Held:
    """`locked`: no host may log in as this user. `roles`: all of them, the marker role too."""

    locked: bool
    roles: frozenset[str]


async def observe(administrator: Session) -> dict[str, Held]:
    """Return every user of the target with what it holds, at two moments shortly after another."""
    roles: dict[str, set[str]] = {}
    for user, role in await administrator.rows(_ROLES):
        roles.setdefault(user, set()).add(role)
    return {
        name: Held(bool(locked), frozenset(roles.get(name, ())))
        for name, locked in await administrator.rows(_USERS)
    }


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant's part of a target: which names are its own, and what they should hold."""

    name: str
    tenant: Tenant

    def user(self, user_name: str) -> str:
        """Return what a SCIM user is called on ClickHouse."""
        return self.tenant.user_name.render(tenant=self.name, user_name=user_name)

    def managed(self, users: Mapping[str, Held]) -> dict[str, Expected]:
        """Return the users that carry the tenant's marker role, with what else they hold."""
        marker = self.tenant.marker_role
        return {
            name: Expected("locked" if held.locked else "open", held.roles - {marker})
            for name, held in users.items()
            if marker in held.roles
        }

    def expected(self, cast: Cast) -> dict[str, Expected]:
        """Return what the target should hold for everybody whom the cast has pushed."""
        role_map = RoleMap(
            frozenset(self.tenant.default_roles),
            {
                entry.group: frozenset(entry.roles)
                for entry in self.tenant.groups
                if entry.group is not None
            },
        )
        return {
            self.user(user_name): expected
            for user_name, expected in expected_access(cast, role_map).items()
            if expected.state != "gone"
        }


def differences(wanted: Mapping[str, Expected], seen: Mapping[str, Expected]) -> list[str]:
    """Return in plain words where the two differ; nothing if they are the same."""
    return [
        f"{name}: {_told(wanted.get(name))} expected, {_told(seen.get(name))} seen"
        for name in sorted(wanted.keys() | seen.keys())
        if wanted.get(name) != seen.get(name)
    ]


def _told(expected: Expected | None) -> str:
    state: State = expected.state if expected else "gone"
    roles = sorted(expected.roles) if expected else []
    return f"{state} {', '.join(roles)}".strip()
