"""What anybody may ask: whether the process is up, whether it can work, and its figures."""

from __future__ import annotations

from http import HTTPStatus

from app.directory.link import check_durable
from app.errors import DirectoryError
from app.http.answers import Answer, text
from app.http.receiver import Receiver

_PROBE = "scim:ready"


async def healthz(_: Receiver) -> Answer:
    return text("ok\n")


async def readyz(receiver: Receiver) -> Answer:
    """Redis takes writes (is no replica, not full, its disk not either) and keeps them."""
    link = receiver.link
    try:
        await link.call(link.redis.set(_PROBE, "1", px=1000))
        if not receiver.allow_volatile_redis:
            await check_durable(link)
    except DirectoryError as error:
        return text(f"{error}\n", HTTPStatus.SERVICE_UNAVAILABLE)
    return text("ok\n")


async def metrics(receiver: Receiver) -> Answer:
    body = await receiver.exposition.render(receiver.settings)
    return Answer(headers={"Content-Type": "text/plain; version=0.0.4"}, body=body)
