"""Which creations this process still has to answer, and which of them it could not.

When a receiver dies between a commit and its answer, or Redis between the commit and its reply, the
client sends the same request again. It would meet its first write as a 409. So the commit leaves an
entry in Redis, which goes when the answer has been sent (`app.directory.unanswered`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from app.directory.directory import OwnWrite
from app.directory.link import Link
from app.directory.shards import Shards
from app.directory.unanswered import KEPT_MS, forget, is_unanswered
from app.errors import DirectoryUnavailable

# A process that is alive answers within this time after its commit. So an entry that is older was
# left behind, and of a younger one it has to be waited what becomes of it.
_ALIVE_MS = 1000
_LOOK_S = 0.05
_AGAIN_S = 1.0
_LAST_S = 1.0

log = structlog.get_logger()

Key = tuple[str, str]
"""A tenant's name and the digest of a request."""


class Unanswered:
    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._open: set[Key] = set()
        self._sent: dict[Key, None] = {}
        self._some = asyncio.Event()

    def expect(self, key: Key) -> None:
        """The request's resource is there; its answer will be sent, or `lost`."""
        self._open.add(key)

    def answered(self, keys: Iterable[Key]) -> None:
        """The answer has been sent: from now on the same request is a new one."""
        for key in keys:
            self._open.discard(key)
            self._sent[key] = None
            self._some.set()

    def lost(self, keys: Iterable[Key]) -> None:
        """No answer, or none that tells of the resource, has gone out."""
        self._open.difference_update(keys)

    def told_of(self, keys: Sequence[Key]) -> Callable[[bool], None]:
        """Return what is to be told whether the answer was sent that holds these."""
        return lambda sent: self.answered(keys) if sent else self.lost(keys)

    async def is_repeat(self, key: Key, own: OwnWrite) -> bool:
        """Whether the client that sends this request again never had an answer to it."""
        age_ms, started = own.age_ms, asyncio.get_running_loop().time()
        while True:
            if age_ms > KEPT_MS or key in self._open or key in self._sent:
                return False
            if age_ms > _ALIVE_MS:
                return True
            await asyncio.sleep(_LOOK_S)
            if not await is_unanswered(self._shards.of(key[0]), *key):
                return False
            age_ms = own.age_ms + int((asyncio.get_running_loop().time() - started) * 1000)

    async def flush(self) -> None:
        """Tell Redis what has been answered. Where one is away it is kept for the next time; then
        this raises DirectoryUnavailable.
        """
        sent, self._sent = self._sent, {}
        digests: dict[str, list[str]] = {}
        for tenant, digest in sent:
            digests.setdefault(tenant, []).append(digest)

        async def write(link: Link, tenant: str) -> None:
            await forget(link, tenant, digests[tenant])

        if left := frozenset(await self._shards.each(digests, write)):
            self._sent = {key: None for key in sent if key[0] in left} | self._sent
            raise DirectoryUnavailable(f"{len(left)} tenants' Redis did not answer")

    async def run(self) -> None:
        """Flush whenever there is something to tell, until cancelled, and then once more."""
        try:
            while True:
                await self._some.wait()
                self._some.clear()
                try:
                    await self.flush()
                except DirectoryUnavailable as error:
                    log.warning("redis.awaited", error=str(error))
                    await asyncio.sleep(_AGAIN_S)
                    self._some.set()
        finally:
            try:
                async with asyncio.timeout(_LAST_S):
                    await self.flush()
            except (TimeoutError, DirectoryUnavailable):
                log.warning("answers.not_noted", requests=len(self._sent))
