"""What anybody may ask: whether the process is up, whether it can work, and its figures."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from app.directory.link import Link, check_durable
from app.errors import DirectoryError
from app.http.answers import Answer, text
from app.http.receiver import Receiver

_PROBE = "scim:ready"


async def healthz(_: Receiver) -> Answer:
    return text("ok\n")


async def readyz(receiver: Receiver) -> Answer:
    """Redis takes writes (is no replica, not full, its disk not either) and keeps them.

    Of several one is enough: a receiver that is taken away for the sake of one takes the tenants
    of all others with it. Those that do not are named all the same.
    """
    links = list(receiver.shards.links.values())

    async def probe(link: Link) -> str | None:
        try:
            await link.call(link.redis.set(_PROBE, "1", px=1000))
            if not receiver.allow_volatile_redis:
                await check_durable(link)
        except DirectoryError as error:
            return f"{link.name}: {error}" if len(links) > 1 else str(error)
        return None

    failures = [one for one in await asyncio.gather(*map(probe, links)) if one is not None]
    is_ready = len(failures) < len(links)
    told = "".join(f"{line}\n" for line in [*["ok"] * is_ready, *failures])
    return text(told, HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE)


async def metrics(receiver: Receiver) -> Answer:
    body = await receiver.exposition.render(receiver.settings)
    return Answer(headers={"Content-Type": "text/plain; version=0.0.4"}, body=body)
