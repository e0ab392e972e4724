"""What a token with the scope `ops` may see: lanes and dead letters of its tenant, and change
nothing.

The rows are those of `lane list --json` and `deadletter list --json`, for dashboards that run where
no configuration file is.
"""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from app.directory.lanes import read_statuses
from app.directory.rows import lane_row, letter_row
from app.http.receiver import CALLER, RECEIVER

_encode = msgspec.json.Encoder().encode


async def lanes(request: web.Request) -> web.Response:
    names = [(store.tenant, store.target) for store in request[CALLER].tenant.lanes.stores]
    statuses = await read_statuses(request.app[RECEIVER].link, names)
    return _answer([lane_row(status) for status in statuses.values()])


async def dead_letters(request: web.Request) -> web.Response:
    rows = []
    for store in request[CALLER].tenant.lanes.stores:
        letters = (await store.letters()).values()
        rows += [letter_row(store.tenant, store.target, letter) for letter in letters]
    return _answer(sorted(rows, key=lambda row: row["first_at"]))


def _answer(rows: list[dict[str, Any]]) -> web.Response:
    return web.Response(body=_encode(rows), content_type="application/json", charset="utf-8")
