"""Bringing tenants to the Redis where `[redis]` puts them, after the list has changed.

Nobody may write meanwhile, so receivers and workers are down, and none is admitted: the note of the
list (`places`) says that something is under way. A tenant is copied whole and only then taken away
from where it was, so a move that was interrupted goes on when it is started again. Which of two
copies counts is in two keys: `moving` at the new one until it is whole, `moved` at the old one from
then on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from app.directory.keys import Keys
from app.directory.link import Link, check_durable
from app.directory.places import note_list, read_list, scanned, tenant_of, tenants_on
from app.directory.shards import Shards
from app.errors import Misplaced

_AT_ONCE = 50  # keys: a large group is some megabytes


@dataclass(frozen=True, slots=True)
class Moved:
    """One tenant that was brought from one Redis to another, by their names."""

    tenant: str
    source: str
    target: str
    keys: int


async def move_all(shards: Shards, old: Link | None, lost: Collection[str]) -> list[Moved]:
    """Bring every tenant to its place; return those that were not there.

    `old`: a Redis that is in the list no longer. `lost`: names of those that will never be back.
    Raises Misplaced where a Redis of an earlier list is neither, or a tenant is on two; then
    nothing was moved. Raises VolatileRedis, DirectoryUnavailable.
    """
    sources = [*shards.links.values(), *([old] if old is not None else [])]
    await _check_lists(sources, lost)
    for link in shards.links.values():
        await check_durable(link)
    there = {link: await tenants_on(link) for link in sources}
    for source in sources:
        for tenant in there[source]:
            await _check_alone(tenant, source, shards.of(tenant), there)
    await note_list(sources, ())
    moved: list[Moved] = []
    for source in sources:
        going = {t for t in there[source] if shards.of(t) is not source}
        moved += await _move(source, going, shards)
    await note_list(shards.links.values(), shards.links)
    return moved


async def _check_lists(sources: Iterable[Link], lost: Collection[str]) -> None:
    noted = [await read_list(link) or set() for link in sources]
    known = {link.name for link in sources} | set(lost)
    if gone := set().union(*noted) - known:
        raise Misplaced(
            f"{', '.join(sorted(gone))} had tenants and is not in [redis] now: name its URL with"
            " --from, or say --lost NAME if it will never be back"
        )


async def _check_alone(
    tenant: str, source: Link, target: Link, there: dict[Link, set[str]]
) -> None:
    if target is source or tenant not in there[target]:
        return
    keys = Keys(tenant)
    is_moving = await target.call(target.redis.exists(keys.moving))
    if not is_moving and not await source.call(source.redis.exists(keys.moved)):
        raise Misplaced(
            f"tenant {tenant} is on {source.name} and on {target.name}, and which of them counts"
            " nobody can tell: delete the keys of one, and begin again"
        )


async def _move(source: Link, tenants: set[str], shards: Shards) -> list[Moved]:
    copying = set()
    for tenant in tenants:
        keys = Keys(tenant)
        if not await source.call(source.redis.exists(keys.moved)):
            target = shards.of(tenant)
            await target.call(target.redis.set(keys.moving, "1"))
            copying.add(tenant)
    for server in await source.servers():
        if server.is_primary and copying:
            async for some in scanned(server.redis, "scim:{*"):
                for tenant, its in _by_tenant(some, copying).items():
                    await _copy(source, shards.of(tenant), its)
    for tenant in tenants:
        keys, target = Keys(tenant), shards.of(tenant)
        await source.call(source.redis.set(keys.moved, "1"))
        await target.call(target.redis.delete(keys.moving))
    counts = dict.fromkeys(tenants, 0)
    for server in await source.servers():
        if server.is_primary and tenants:
            async for some in scanned(server.redis, "scim:{*"):
                for tenant, its in _by_tenant(some, tenants).items():
                    counts[tenant] += len(its)
                    await source.call(source.redis.unlink(*its))
    for tenant in tenants:
        await source.call(source.redis.delete(Keys(tenant).moved))
    return [Moved(t, source.name, shards.of(t).name, counts[t]) for t in sorted(tenants)]


def _by_tenant(keys: Sequence[bytes], tenants: Collection[str]) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for key in keys:
        tenant = tenant_of(key)
        if tenant in tenants and key.decode(errors="replace") != Keys(tenant).moved:
            found.setdefault(tenant, []).append(key)
    return found


async def _copy(source: Link, target: Link, keys: Sequence[bytes]) -> None:
    for start in range(0, len(keys), _AT_ONCE):
        some = keys[start : start + _AT_ONCE]
        pipe = source.redis.pipeline(transaction=False)
        for key in some:
            pipe.dump(key)
            pipe.pttl(key)
        found = await source.call(pipe.execute())
        pipe = target.redis.pipeline(transaction=False)
        for key, dumped, left_ms in zip(some, found[::2], found[1::2], strict=True):
            if dumped is not None:  # a lease may have run out
                pipe.restore(key, max(0, left_ms), dumped, replace=True)
        await target.call(pipe.execute())
