"""Whether the ledger can be written: its server, the account's rights, its tables."""

from __future__ import annotations

from collections.abc import Sequence

from app.config.ledger import LedgerSettings
from app.doctor.finding import Finding, fail, ok
from app.errors import StatementRefused, TargetError
from workers.access.statements import Right, check_query, ledger_rights
from workers.ledger.schema import is_behind
from workers.ledger.store import Store

_ACCESS_DENIED = 497


async def examine_ledger(ledger: LedgerSettings) -> list[Finding]:
    """Return the findings about it. Nothing is changed there."""
    try:
        found = [_lacking(ledger, right) for right in await _missing(ledger)]
    except TargetError as error:
        return [_unreachable(ledger, error)]
    try:
        behind = await is_behind(ledger)
    except StatementRefused as error:
        # It may not even read: said already, where the server tells which rights are missing.
        if error.code == _ACCESS_DENIED and not found:
            found = [_lacking(ledger, right) for right in ledger_rights(ledger.database)]
        return found or [_unreachable(ledger, error)]
    except TargetError as error:
        return [_unreachable(ledger, error)]
    if behind:
        told = "its tables are not there yet, or of an older version; nothing is written to them"
        return [*found, fail("ledger", ledger.url, told, "clickhouse-scim migrate")]
    return found or [ok("ledger", ledger.url, "its tables are of this version")]


async def _missing(ledger: LedgerSettings) -> Sequence[Right]:
    """Return the rights that the account lacks; none where the server is too old to be asked."""
    store = Store(ledger, database="system")
    missing: list[Right] = []
    try:
        for right in ledger_rights(ledger.database):
            ((is_held,),) = await store.query(check_query(right))
            if not is_held:
                missing.append(right)
    except StatementRefused:
        return []
    finally:
        await store.close()
    return missing


def _lacking(ledger: LedgerSettings, right: Right) -> Finding:
    names = ", ".join(name for name, _ in right.privilege.access)
    told = f"{ledger.user} lacks {names} on {ledger.database}"
    return fail("ledger rights", ledger.url, told, f"{right.statement(ledger.user)};")


def _unreachable(ledger: LedgerSettings, error: TargetError) -> Finding:
    mend = "see that [ledger] names a server that runs, its account and password"
    return fail("ledger", ledger.url, str(error)[:300], mend)
