"""The baseline of receivers: an aiohttp handler that parses a body and answers so many bytes.

python benchmarks/bare.py PORT BYTES
"""

from __future__ import annotations

import sys

import msgspec
from aiohttp import web


def main() -> None:
    port, size = map(int, sys.argv[1:])
    answer, decode = b"x" * size, msgspec.json.Decoder().decode

    async def handle(request: web.Request) -> web.Response:
        decode(await request.read())
        return web.Response(body=answer, content_type="application/scim+json", status=201)

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
