"""What a scrape costs with many tenants: time, CPU, and the size of the answer.

.venv/bin/python benchmarks/metrics.py --tenants 10000
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from app.clock import Clock
from app.config.load import load
from app.config.settings import Settings
from app.directory.activity import Window, note_activity
from app.directory.link import connect
from app.directory.shards import alone
from app.directory.tokens import create
from app.metrics.declared import Metrics
from app.metrics.exposition import Exposition
from app.metrics.fleet import Fleet

HEAD = '[redis]\nurl = "{url}"\n[targets.main]\nhosts = ["127.0.0.1:9000"]\n'
TENANT = (
    '[tenants.t{n}]\ntargets = ["main"]\nuser_name = "{{tenant}}__{{userName}}"\n'
    'marker_role = "m{n}"\n'
)


def configured(url: str, tenants: int) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "clickhouse-scim.toml")
        file.write_text(HEAD.format(url=url) + "".join(TENANT.format(n=n) for n in range(tenants)))
        return load(file, {})


async def measure(url: str, tenants: int) -> None:
    settings = configured(url, tenants)
    clock, link = Clock(), connect(url)
    now_ms = clock.now_ms()
    for name in settings.tenants:
        await create(link, name, now_ms=now_ms, expires_in_s=86400)
        await note_activity(link, name, Window(now_ms, now_ms))
    metrics, shards = Metrics(settings.tenants), alone(link)
    exposition = Exposition(shards, Fleet(shards, metrics, "receiver", clock), clock)
    started, cpu = time.monotonic(), time.process_time()
    text = await exposition.render(settings)
    print(
        f"{tenants} tenants: {time.monotonic() - started:.2f} s,"
        f" {time.process_time() - cpu:.2f} s of CPU here, {len(text) / 1024:.0f} KiB"
    )
    await link.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis", required=True, help="an empty Redis, as a URL")
    parser.add_argument("--tenants", type=int, default=10_000)
    given = parser.parse_args()
    asyncio.run(measure(given.redis, given.tenants))


if __name__ == "__main__":
    main()
