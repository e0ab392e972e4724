"""The control port: HTTP and JSON by which a test makes the server fail (docs/sandbox.md).

GET    /rules       the rules that hold
POST   /rules       let one more hold; answers with its number
DELETE /rules       take all back
DELETE /rules/{id}  take one back
"""

from __future__ import annotations

import os

from aiohttp import web

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.switches import Switches, parse_rule

_HOST = "127.0.0.1"
_SWITCHES = web.AppKey("switches", Switches)


async def open_control(switches: Switches, port: int) -> int:
    """Listen on `port` of the loopback interface, 0 for a free one; return it.

    The listener lives as long as the process: whoever uses it is on this machine and tests.
    """
    app = web.Application()
    app[_SWITCHES] = switches
    app.add_routes(
        [
            web.get("/rules", _list),
            web.post("/rules", _add),
            web.delete("/rules", _clear),
            web.delete(r"/rules/{id:\d+}", _remove),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, _HOST, port).start()
    except OSError as error:
        await runner.cleanup()
        raise CannotStart(
            f"cannot listen on {_HOST}:{port}: {os.strerror(error.errno or 0)}; "
            "choose another --control-port"
        ) from error
    opened: int = runner.addresses[0][1]
    return opened


async def _list(request: web.Request) -> web.Response:
    return web.json_response(request.app[_SWITCHES].listed())


async def _add(request: web.Request) -> web.Response:
    try:
        rule = parse_rule(await request.read())
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({"id": request.app[_SWITCHES].add(rule)}, status=201)


async def _clear(request: web.Request) -> web.Response:
    request.app[_SWITCHES].clear()
    return web.Response(status=204)


async def _remove(request: web.Request) -> web.Response:
    there = request.app[_SWITCHES].remove(int(request.match_info["id"]))
    return web.Response(status=204 if there else 404)
