"""Whether tenants lie where `[redis]` puts them: a directory must not be lost by a changed list.

Each of several Redis has a note of the list that it was last admitted under. While that is the list
of now, every tenant is where it was. Another list is admitted once everything that is there has
been seen to be in its place; `moving` brings it there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from app.directory.answered import answered
from app.directory.link import Link
from app.directory.pipelined import PipelinedRedis
from app.directory.shards import Shards
from app.errors import Misplaced

KEY = "{clickhouse-scim}:places"
_AT_ONCE = 2000
_FIRST = 5  # tenants that a message names

_names = msgspec.json.Decoder(list[str]).decode


async def admit_place(shards: Shards, link: Link) -> None:
    """Return if the tenants of `link` are there, with a note of that. Raises as `check_place`."""
    if not await check_place(shards, link):
        await note_list(shards.links.values(), shards.links)


async def check_place(shards: Shards, link: Link) -> bool:
    """Return if the tenants of `link` are there: True if that was noted before, or need not be.

    Under a new list every Redis of it has to answer. Raises Misplaced, DirectoryUnavailable.
    """
    noted, now = await read_list(link), set(shards.links)
    if noted == now or (len(now) == 1 and (noted is None or len(noted) == 1)):
        return True
    known = set().union(*[await read_list(one) or set() for one in shards.links.values()])
    if gone := known - now:
        raise Misplaced(
            f"{', '.join(sorted(gone))} is not in [redis] any more, and tenants may lie there: stop"
            " receivers and workers, and run `clickhouse-scim directory move --from URL` with its"
            " URL, or `--lost NAME` if it will never be back; or put it into the list again"
        )
    if misplaced := await find_misplaced(shards):
        some = [f"{t} on {there.name}" for t, there in list(misplaced.items())[:_FIRST]]
        raise Misplaced(
            f"{len(misplaced)} tenants lie on another Redis than [redis] urls puts them"
            f" ({', '.join(some)}{', …' * (len(misplaced) > _FIRST)}): stop receivers and workers,"
            " and run `clickhouse-scim directory move`; or put the old list back"
        )
    return False


async def find_misplaced(shards: Shards) -> dict[str, Link]:
    """Return the tenants that have keys on another link than theirs, each with that link."""
    found: dict[str, Link] = {}
    for link in shards.links.values():
        for tenant in await tenants_on(link):
            if shards.of(tenant) is not link:
                found[tenant] = link
    return found


async def read_list(link: Link) -> set[str] | None:
    """Return the names of the list that was noted there, None for none."""
    noted = await link.call(link.redis.get(KEY))
    return None if noted is None else set(_names(noted))


async def note_list(links: Iterable[Link], names: Iterable[str]) -> None:
    """Note a list of names. Under an empty one nobody is admitted who has not seen everything."""
    text = msgspec.json.encode(sorted(names))
    for link in links:
        await link.call(link.redis.set(KEY, text))


async def tenants_on(link: Link) -> set[str]:
    """Return every tenant that has a key there; goes through all keys."""
    found: set[str] = set()
    for server in await link.servers():
        if server.is_primary:
            async for keys in scanned(server.redis, "scim:{*"):
                found |= {tenant_of(key) for key in keys}
    return found


def tenant_of(key: bytes) -> str:
    return key[key.index(b"{") + 1 : key.index(b"}")].decode()


async def scanned(redis: PipelinedRedis, pattern: str) -> AsyncIterator[list[bytes]]:
    """Yield the keys of one server that fit, some at a time."""
    position: int | None = None
    while position != 0:
        position, keys = await answered(redis.scan(position or 0, match=pattern, count=_AT_ONCE))
        if keys:
            yield keys
