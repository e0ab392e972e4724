"""Bring access on ClickHouse to what the directory says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from app.cli.options import config_option, read_settings, volatile_option


@click.command("worker")
@config_option
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True)
@volatile_option
def command(*, config: Path, processes: int, allow_volatile_redis: bool) -> int:
    """Drain the lanes of all tenants until SIGTERM. SIGHUP rereads the file.

    Any number of workers may run; a lane is held by one at a time.

    Example: clickhouse-scim worker --config clickhouse-scim.toml --processes 4
    """
    settings = read_settings(config)
    if processes > 1:
        from app.cli.several import run_several  # noqa: PLC0415 - not for --help

        volatile = ["--allow-volatile-redis"] * allow_volatile_redis
        return run_several("worker", ["--config", str(config), *volatile], processes)
    from workers.main import run_worker  # noqa: PLC0415 - not for --help

    return run_worker(
        settings,
        allow_volatile_redis=allow_volatile_redis,
        reload=partial(read_settings, config),
    )
