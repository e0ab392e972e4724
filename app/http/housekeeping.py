"""What no request does: cleaning up behind receivers that died in the middle of something, and
taking members out of groups whose user never came.

Every receiver looks after every tenant, now and then. Two of them at once do no harm, and nothing
waits for it: what is left behind is seen by nobody.
"""

from __future__ import annotations

import asyncio
import random
import uuid

import structlog

from app.directory.directory import Origin
from app.directory.keys import Keys
from app.directory.link import Link
from app.directory.reader import pending_since_before
from app.directory.staging import LEASE_MS, settle, unsettled
from app.directory.unanswered import forget_old
from app.errors import DirectoryUnavailable
from app.http.receiver import Receiver, Tenant

FIRST_S = LEASE_MS / 1000 + 2  # when what the last receiver left behind may be touched
EVERY_S = 300.0
_AT_ONCE = 500  # tenants in one pipeline
_DAY_MS = 86_400_000

log = structlog.get_logger()


async def keep_house(receiver: Receiver) -> None:
    """Tidy up every few minutes, never in step with other receivers, until cancelled."""
    await asyncio.sleep(FIRST_S)
    while True:
        for link in receiver.shards.links.values():
            try:
                await tidy(receiver, link)
            except DirectoryUnavailable as error:
                log.warning("redis.awaited", redis=link.name, error=str(error))
        await asyncio.sleep(EVERY_S * random.uniform(0.75, 1.25))  # noqa: S311 - no secret


async def tidy(receiver: Receiver, link: Link) -> None:
    """Go through all tenants there once. Raises DirectoryUnavailable."""
    tenants, days = receiver.tenants, receiver.settings.limits.pending_days
    names = receiver.shards.on(link, tenants)
    before_ms = receiver.clock.now_ms() - int(days * _DAY_MS)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        for name, group in await unsettled(link, some):
            await settle(link, Keys(name), group)
        await forget_old(link, some, receiver.clock.now_ms())
        for name in await pending_since_before(link, some, before_ms) if days else ():
            await _age_out(receiver, tenants[name], before_ms)


async def _age_out(receiver: Receiver, tenant: Tenant, before_ms: int) -> None:
    waiting: dict[str, list[str]] = {}
    for pending in await tenant.directory.pending(before_ms):
        waiting.setdefault(pending.group_id, []).append(pending.member_id)
    origin = Origin(request_id=f"aged-out-{uuid.uuid4()}", token_id="", digest="")
    for group, members in waiting.items():
        aged = await tenant.directory.age_out(group, members, before_ms, origin)
        if aged.count:
            receiver.waker.wake(tenant.name, aged.wake)
            log.warning("members.aged_out", tenant=tenant.name, group=group, members=aged.count)
