"""A request that has been let in, as handlers see it."""

from __future__ import annotations

import msgspec
from aiohttp import web

from app.http.receiver import Caller, Receiver


class Exchange(msgspec.Struct, frozen=True):
    """`endpoint`, `id`: what the path names, such as `Users` and one of them; "" for nothing."""

    receiver: Receiver
    request: web.BaseRequest
    caller: Caller
    endpoint: str
    id: str
