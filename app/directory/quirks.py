"""How often a tenant's identity provider sent each quirk, for a report.

Figures for people: a receiver that dies loses those of its last seconds, and nothing depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.directory.keys import Keys
from app.directory.link import Link
from app.scim.quirks import Quirk

_LAST = ":last"


@dataclass(frozen=True, slots=True)
class Seen:
    """One quirk: how often it came, and when last (ms since 1970)."""

    quirk: Quirk
    count: int
    last_ms: int


class QuirkLog:
    """One hash per tenant, with two fields for each quirk: bounded, since quirks are."""

    def __init__(self, link: Link, tenant: str) -> None:
        self._link = link
        self._key = f"{Keys(tenant).prefix}quirks"

    async def add(self, counts: Mapping[Quirk, int], at_ms: int) -> None:
        """Count quirks that were seen up to `at_ms`. Raises DirectoryUnavailable."""
        if not counts:
            return
        pipe = self._link.redis.pipeline(transaction=True)
        for quirk, count in counts.items():
            pipe.hincrby(self._key, quirk, count)
            pipe.hset(self._key, quirk + _LAST, str(at_ms))
        await self._link.call(pipe.execute())

    async def read(self) -> list[Seen]:
        """Return what was seen, the most frequent first.

        Names that this version doesn't know are left out.
        """
        found = await self._link.call(self._link.redis.hgetall(self._key))  # type: ignore[arg-type]
        fields = {name.decode(): int(value) for name, value in found.items()}
        seen = [Seen(q, fields[q], fields.get(q + _LAST, 0)) for q in Quirk if q in fields]
        return sorted(seen, key=lambda one: (-one.count, one.quirk))
