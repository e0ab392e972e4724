"""The way through everybody whom a lane has to know: a resync goes it, and so does a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.directory.keys import Kind
from app.directory.lanes import RESYNC_DONE, LaneStore
from app.directory.subjects import Subjects
from workers.clickhouse.target import Target

WALK_START = "u0"

# The stages that read the directory, each with the position that follows.
_KINDS: Mapping[str, tuple[Kind, str]] = {"u": ("user", "a0"), "a": ("agent", "n0")}


@dataclass(frozen=True, slots=True)
class Part:
    """`ids`: resources to look at. `strays`: managed names on the target that no resource is
    behind. `reached`: the position to go on from, RESYNC_DONE at the end.
    """

    ids: Sequence[str]
    strays: Sequence[str]
    reached: str


class Walk:
    """A resource may be in more than one of its parts."""

    def __init__(self, store: LaneStore, subjects: Subjects, target: Target) -> None:
        self._store, self._subjects, self._target = store, subjects, target

    async def step(self, position: str, count: int, *, is_blank: bool) -> Part:
        """Return the part of about `count` from here: through the directory's users (`u<seq>`) and
        agents (`a<seq>`), then through the names that were applied for those of the past
        (`n<cursor>`), then through the target's managed users (`m<name>`).

        `is_blank`: the tenant has not had a single event. Its target is left alone: the directory
        is still to be filled again.
        """
        stage, at = position[0], position[1:]
        if stage in _KINDS:
            kind, then = _KINDS[stage]
            created = await self._subjects.created_after(kind, int(at), count)
            reached = f"{stage}{created[-1][1]}" if len(created) == count else then
            return Part([i for i, _ in created], (), reached)
        if stage == "n":
            next_at, named = await self._store.scan_names(int(at), count)
            gone = await self._subjects.gone(named)
            return Part(gone, (), f"n{next_at}" if next_at else "m")
        if is_blank:
            return Part((), (), RESYNC_DONE)
        names = await self._target.managed(at, count)
        holders = await self._subjects.holders(names)
        strays = [name for name in names if name not in holders]
        return Part((), strays, f"m{names[-1]}" if len(names) == count else RESYNC_DONE)
