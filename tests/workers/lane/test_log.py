"""From a request to its event, to the statements on the target: by the log, and on the target."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.workers.lane.conftest import World


async def test_the_line_of_a_batch_names_the_requests_behind_it(world: World) -> None:
    await world.user("ana")
    last = await world.directory.last_seq()
    events = await world.link.redis.xrange(f"scim:{{{world.tenant}}}:events")
    request = events[-1][1][b"request"].decode()
    drained = [line for line in await world.drain() if line["users"]]
    assert drained[0]["seq"] == last
    assert request in drained[0]["requests"]
    assert "ana" not in json.dumps(drained)
