"""What a token with the scope `ops` may see: lanes and dead letters of its tenant, and change
nothing.

The rows are those of `lane list --json` and `deadletter list --json`, for dashboards that run where
no configuration file is.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from app.directory.lanes import Letter
from app.http.receiver import CALLER
from app.scim.present import timestamp

_encode = msgspec.json.Encoder().encode


async def lanes(request: web.Request) -> web.Response:
    stores = request[CALLER].tenant.lanes.stores
    rows: list[dict[str, Any]] = []
    for store in stores:
        status = await store.status()
        rows.append(
            {
                "tenant": status.tenant,
                "target": status.target,
                "state": status.state,
                "last_seq": status.last_seq,
                "applied_seq": status.applied_seq,
                "lag_seconds": status.lag_seconds,
                "dead_letters": status.dead_letters,
                "last_error": status.last_error,
            }
        )
    return _answer(rows)


async def dead_letters(request: web.Request) -> web.Response:
    rows = []
    for store in request[CALLER].tenant.lanes.stores:
        letters = (await store.letters()).values()
        rows += [_row(store.tenant, store.target, letter) for letter in letters]
    return _answer(sorted(rows, key=lambda row: row["first_at"]))


def _row(tenant: str, target: str, letter: Letter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "tenant": tenant,
        "target": target,
        "resource_type": letter.resource_type,
        "resource_id": letter.resource_id,
        "name": letter.name,
        "seq_first": letter.seq_first,
        "seq_last": letter.seq_last,
        "code": letter.code,
        "error": letter.error,
        "attempts": letter.attempts,
        "first_at": timestamp(letter.first_ms),
        "last_at": timestamp(letter.last_ms),
    }


def _answer(rows: list[dict[str, Any]]) -> web.Response:
    return web.Response(body=_encode(rows), content_type="application/json", charset="utf-8")
