"""What the account of the workers holds on a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app.errors import StatementRefused
from workers.access.held import HeldGrant
from workers.access.statements.rights import OWN_GRANTS, OWN_GRANTS_SINCE_25, PRIVILEGE_GROUPS
from workers.clickhouse.pool import Session

_UNKNOWN_IDENTIFIER, _ACCESS_DENIED = 47, 497


async def read_held(session: Session) -> tuple[Sequence[HeldGrant], Mapping[str, str]] | None:
    """Return what the account holds, and which group each access type belongs to.

    None: it may not read `system.grants`, so nothing can be told.
    """
    try:
        try:
            rows = await session.query(OWN_GRANTS_SINCE_25)
        except StatementRefused as error:
            if error.code != _UNKNOWN_IDENTIFIER:
                raise
            rows = await session.query(OWN_GRANTS)
        groups = await session.query(PRIVILEGE_GROUPS)
    except StatementRefused as error:
        if error.code == _ACCESS_DENIED:
            return None
        raise
    held = [
        HeldGrant(
            access=access,
            database=database,
            table=table,
            column=column,
            is_revoke=bool(is_revoke),
            hand_on=bool(hand_on),
            is_pattern=bool(is_pattern),
            only_for=only_for or None,
        )
        for access, database, table, column, is_revoke, hand_on, is_pattern, only_for in rows
    ]
    return held, {name: group for name, group in groups if group}
