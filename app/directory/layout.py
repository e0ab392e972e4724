"""How the data in Redis is laid out, as a number: noted in Redis, looked at by each process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from app.directory.link import Link
from app.errors import LaterLayout

KEY = "{clickhouse-scim}:layout"
LAYOUT = 1  # the one of `keys.py`

# From each layout to the next one. Several processes may run a step at the same time, and again
# after a crash; while it runs, processes of the version before may still be there.
Step = Callable[[Link], Awaitable[None]]
STEPS: Mapping[int, Step] = MappingProxyType({})


async def read_layout(link: Link) -> int:
    """Return the layout that is noted; of an empty Redis the one that this version would note."""
    noted = await link.call(link.redis.get(KEY))
    return LAYOUT if noted is None else int(noted)


async def admit_layout(
    link: Link, *, layout: int = LAYOUT, steps: Mapping[int, Step] = STEPS
) -> None:
    """Note the layout in a Redis that has none, and bring an older one to this version's.

    Raises LaterLayout if a later version has been here, DirectoryUnavailable.
    """
    noted = await link.call(link.redis.set(KEY, layout, nx=True, get=True))
    found = layout if noted is None else int(noted)
    if found > layout:
        raise LaterLayout(
            f"the data in Redis is of a later version (layout {found}, this one knows {layout}):"
            " start that version, or go back to a backup of before"
        )
    for number in range(found, layout):
        await steps[number](link)
        await link.call(link.redis.set(KEY, number + 1))
