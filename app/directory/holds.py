"""Holds: whom an operator keeps out of all targets, whatever the identity provider says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from app.directory.keys import Keys
from app.directory.lanes import LaneStore
from app.directory.link import Link
from app.scim.text import fold


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """`user`: userName, or an agent's name. `resource_id`: None if the directory has no such one.

    `on_targets`: it was made while Redis was away, and targets keep it too (`Door.HELD`).
    `since_ms`: since 1970.
    """

    user: str
    resource_id: str | None
    since_ms: int
    reason: str = ""
    on_targets: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Everybody who is held: by resource, so that a new name helps nobody, and by name, so that a
    new resource does not either.
    """

    holds: tuple[Hold, ...]
    ids: frozenset[str]
    names: frozenset[str]

    @classmethod
    def of(cls, holds: Sequence[Hold]) -> Held:
        ids = frozenset(hold.resource_id for hold in holds if hold.resource_id is not None)
        return cls(tuple(holds), ids, frozenset(fold(hold.user) for hold in holds))

    def covers(self, resource_id: str, name: str) -> bool:
        return resource_id in self.ids or fold(name) in self.names


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Hold).decode


class Holds:
    """The holds of one tenant."""

    def __init__(self, link: Link, tenant: str) -> None:
        self._link, self._tenant = link, tenant
        self._key = Keys(tenant).holds

    async def all(self) -> Held:
        """Return every hold: an operator made each by hand, so they are few."""
        found = await self._link.call(self._link.redis.hvals(self._key))  # type: ignore[arg-type]
        return Held.of([_decode(raw) for raw in found])

    async def put(self, hold: Hold, targets: Sequence[str]) -> None:
        """Keep `hold`; the lanes to `targets` look at its resource again."""
        field = fold(hold.user)
        await self._link.call(self._link.redis.hset(self._key, field, _encode(hold)))  # type: ignore[arg-type]
        await self._look_again(hold, targets)

    async def drop(self, hold: Hold, targets: Sequence[str]) -> None:
        """Forget `hold`; the lanes to `targets` look at its resource again."""
        await self._link.call(self._link.redis.hdel(self._key, fold(hold.user)))  # type: ignore[arg-type]
        await self._look_again(hold, targets)

    async def _look_again(self, hold: Hold, targets: Sequence[str]) -> None:
        if hold.resource_id is not None:
            for target in targets:
                await LaneStore(self._link, self._tenant, target).ask([hold.resource_id])
