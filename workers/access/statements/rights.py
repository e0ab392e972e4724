"""The least rights that the account of the workers needs on a target."""

from __future__ import annotations

from collections.abc import Collection

from workers.access.model import RoleDefinition
from workers.access.statements.quoting import quote_identifier
from workers.access.statements.rendering import render_privilege

_USERS = "CREATE USER, ALTER USER, DROP USER"
_ROLES = "CREATE ROLE, ALTER ROLE, ROLE ADMIN"
_ROW_POLICIES = "CREATE ROW POLICY, ALTER ROW POLICY, DROP ROW POLICY"


def provisioner_grants(
    account: str, definitions: Collection[RoleDefinition] = ()
) -> tuple[str, ...]:
    """Return the statements that give `account` what the statements of this package need.

    SHOW ACCESS opens `system.users` and `system.roles`, but neither `system.role_grants` nor
    `system.grants`; KILL QUERY reads `system.processes` as its caller. What a defined role hands
    out, the account must hold itself with the right to hand it on.
    """
    to = f"TO {quote_identifier(account)}"
    given = {
        f"GRANT {render_privilege(p)} {to} WITH GRANT OPTION" for d in definitions for p in d.grants
    }
    filters = {
        f"GRANT {_ROW_POLICIES} ON {quote_identifier(database)}.{quote_identifier(table)} {to}"
        for definition in definitions
        for database, table, _ in definition.row_filters
    }
    return (
        f"GRANT {_USERS} ON *.* {to}",
        f"GRANT {_ROLES} ON *.* {to}",
        f"GRANT SHOW ACCESS, KILL QUERY ON *.* {to}",
        *(
            f"GRANT SELECT ON system.{table} {to}"
            for table in ("role_grants", "grants", "processes")
        ),
        *sorted(given),
        *sorted(filters),
    )
