"""How far resources have come on each target, for the Applied extension (`app.scim.applied`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.directory.lanes import LaneStore
from app.scim.applied import Parked, Progress


@dataclass(frozen=True, slots=True)
class Lanes:
    """A tenant's lanes, read only."""

    stores: Sequence[LaneStore]

    async def progress(self, resource_ids: Sequence[str]) -> dict[str, list[Progress]]:
        """Return each resource's progress on every target; two reads for each target."""
        found: dict[str, list[Progress]] = {i: [] for i in resource_ids}
        for store in self.stores:
            status = await store.status()
            letters = await store.letters(resource_ids)
            for resource_id, told in found.items():
                letter = letters.get(resource_id)
                told.append(
                    Progress(
                        target=store.target,
                        applied_seq=status.applied_seq,
                        lag_seconds=status.lag_seconds,
                        parked=None
                        if letter is None
                        else Parked(letter=letter.id, code=letter.code, reason=letter.error),
                    )
                )
        return found
