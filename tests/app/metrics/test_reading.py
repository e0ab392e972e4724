"""What is read of lanes for /metrics, again where something may have changed."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from app.clock import Clock
from app.config.load import load
from app.config.settings import Settings
from app.directory.directory import Directory, Origin
from app.directory.lanes import Acknowledgement, LaneStore
from app.directory.link import connect
from app.metrics import reading

if TYPE_CHECKING:
    from tests.conftest import RedisServer

TENANTS = 1100  # more than are read in one turn
ORIGIN = Origin(request_id="r", token_id="t", digest="d")


def configured(url: str, folder: Path, prefix: str) -> Settings:
    text = f'[redis]\nurl = "{url}"\n[targets.main]\nhosts = ["127.0.0.1:9000"]\n'
    for number in range(TENANTS):
        name = f"{prefix}-{number}"
        text += f'[tenants.{name}]\ntargets = ["main"]\nmarker_role = "{name}"\n'
        text += f'user_name = "{name}__{{userName}}"\n'
    file = folder / "clickhouse-scim.toml"
    file.write_text(text)
    return load(file, {})


async def test_a_tenant_that_has_something_to_do_is_read_again_out_of_turn(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}"
    settings = configured(redis_server.url, tmp_path, prefix)
    link, last = connect(redis_server.url), f"{prefix}-{TENANTS - 1}"
    seen = reading.Reading(link)

    async def lags() -> dict[str, int]:
        state = await seen.state(settings, list(settings.tenants), Clock().now_ms())
        assert [lane.tenant for lane in state.lanes] == list(settings.tenants)
        return {x.tenant: x.last_seq - x.applied_seq for x in state.lanes if x.last_seq}

    assert await lags() == {}
    directory = Directory(link, last, ["main"])
    await directory.create("user", {"userName": "ana"}, ORIGIN)
    assert await lags() == {last: 1}
    lane = LaneStore(link, last, "main")
    held = await lane.acquire(5000)
    assert held is not None
    await lane.acknowledge(held.epoch, Acknowledgement(cursor=1))
    await lane.settle(held.epoch)
    assert await lags() == {last: 0}
    await link.close()
