"""What a token with the scope `ops` may see: lanes and dead letters of its tenant, and change
nothing.

The rows are those of `lane list --json` and `deadletter list --json`, for dashboards that run where
no configuration file is.
"""

from __future__ import annotations

from typing import Any

from app.directory.lanes import read_statuses
from app.directory.revocations import with_revocations
from app.directory.rows import lane_row, letter_row
from app.http.answers import Answer, plain_json
from app.http.exchange import Exchange


async def lanes(exchange: Exchange) -> Answer:
    tenant = exchange.caller.tenant
    names = [(store.tenant, store.target) for store in tenant.lanes.stores]
    statuses = await read_statuses(tenant.link, names)
    rows = await with_revocations(tenant.link, statuses.values())
    return plain_json([lane_row(status) for status in rows])


async def dead_letters(exchange: Exchange) -> Answer:
    rows: list[dict[str, Any]] = []
    for store in exchange.caller.tenant.lanes.stores:
        letters = (await store.letters()).values()
        rows += [letter_row(store.tenant, store.target, letter) for letter in letters]
    return plain_json(sorted(rows, key=lambda row: row["first_at"]))
