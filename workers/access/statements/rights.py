"""The least rights that the account of the workers needs on a target."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from app.config.privileges import Privilege
from workers.access.model import RoleDefinition
from workers.access.statements.quoting import quote_identifier
from workers.access.statements.rendering import render_privilege

_USERS = ("CREATE USER", "ALTER USER", "DROP USER")
_ROLES = ("CREATE ROLE", "ALTER ROLE", "ROLE ADMIN")
_QUOTAS = ("CREATE QUOTA", "ALTER QUOTA", "DROP QUOTA")
_ROW_POLICIES = ("CREATE ROW POLICY", "ALTER ROW POLICY", "DROP ROW POLICY")

# What the account holds itself: (access type, database, table, column, is a partial revoke, may be
# handed on, is a pattern, only for some names). `_SINCE_25` has columns that older servers lack.
OWN_GRANTS_SINCE_25 = (
    "SELECT toString(access_type), database, table, column, is_partial_revoke, grant_option,"
    " is_wildcard, access_object FROM system.grants WHERE user_name = currentUser()"
    " OR role_name IN (SELECT role_name FROM system.enabled_roles)"
)
OWN_GRANTS = (
    "SELECT toString(access_type), database, table, column, is_partial_revoke, grant_option,"
    " 0, NULL FROM system.grants WHERE user_name = currentUser()"
    " OR role_name IN (SELECT role_name FROM system.enabled_roles)"
)
PRIVILEGE_GROUPS = "SELECT toString(privilege), toString(parent_group) FROM system.privileges"


_IN_THE_LEDGER = (
    "SELECT",
    "INSERT",
    "ALTER TABLE",
    "ALTER VIEW",
    "CREATE TABLE",
    "CREATE VIEW",
    "DROP TABLE",
    "DROP VIEW",
)
_READ = ("role_grants", "grants", "processes", "settings_profile_elements")
_READ_BY_DOCTOR = ("user_directories", "clusters")


@dataclass(frozen=True, slots=True)
class Right:
    """Something that the account must hold; with `hand_on` WITH GRANT OPTION."""

    privilege: Privilege
    hand_on: bool = False

    def statement(self, account: str) -> str:
        """Return the GRANT that gives it to `account`."""
        option = " WITH GRANT OPTION" if self.hand_on else ""
        return f"GRANT {render_privilege(self.privilege)} TO {quote_identifier(account)}{option}"


def needed_rights(definitions: Collection[RoleDefinition] = ()) -> tuple[Right, ...]:
    """Return what the statements of this package need.

    SHOW ACCESS opens `system.users`, `system.roles` and more, but not the tables of `_READ` and
    `_READ_BY_DOCTOR`; KILL QUERY reads `system.processes` as its caller. What a defined role hands
    out, the account must hold itself with the right to hand it on.
    """
    given = {Right(privilege, hand_on=True) for d in definitions for privilege in d.grants}
    filtered = {(one.database, one.table) for d in definitions for one in d.row_filters}
    has_quotas = any(definition.quota for definition in definitions)
    return (
        Right(_everywhere(*_USERS)),
        Right(_everywhere(*_ROLES)),
        Right(_everywhere("SHOW ACCESS", "KILL QUERY")),
        *(Right(_on("system", table, "SELECT")) for table in (*_READ, *_READ_BY_DOCTOR)),
        *sorted(given, key=lambda right: right.statement("-")),
        *(Right(_on(database, table, *_ROW_POLICIES)) for database, table in sorted(filtered)),
        *(
            (Right(_everywhere(*_QUOTAS)), Right(_on("system", "quota_limits", "SELECT")))
            * has_quotas
        ),
    )


def provisioner_grants(
    account: str, definitions: Collection[RoleDefinition] = ()
) -> tuple[str, ...]:
    """Return the statements that give `account` what it needs, as an administrator runs them."""
    return tuple(right.statement(account) for right in needed_rights(definitions))


def ledger_rights(database: str) -> tuple[Right, ...]:
    """Return what the account of the ledger needs in its database."""
    return tuple(
        Right(Privilege(((name, ()),), database, False, "", True)) for name in _IN_THE_LEDGER
    )


def check_query(right: Right) -> str:
    """Return a query for 1 if the account that asks holds `right`, else 0; servers know it since
    24.10.
    """
    return f"CHECK GRANT {render_privilege(right.privilege)}"


def _everywhere(*names: str) -> Privilege:
    return Privilege(tuple((name, ()) for name in names), "", True, "", True)


def _on(database: str, table: str, *names: str) -> Privilege:
    return Privilege(tuple((name, ()) for name in names), database, False, table, False)
