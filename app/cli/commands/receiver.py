"""Answer SCIM requests of identity providers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from app.cli.options import config_option, read_settings, volatile_option


@click.command("receiver")
@config_option
@click.option("--host", help="Address to listen on; default: receiver.host of the file.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default: receiver.port of the file.")
@click.option("--processes", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--share-port", is_flag=True, hidden=True)
@volatile_option
def command(
    *,
    config: Path,
    host: str | None,
    port: int | None,
    processes: int,
    share_port: bool,
    allow_volatile_redis: bool,
) -> int:
    """Answer SCIM requests under /scim/TENANT/v2 until SIGTERM. SIGHUP rereads the file.

    Example: clickhouse-scim receiver --config clickhouse-scim.toml --port 8080
    """
    settings = read_settings(config)
    host = settings.receiver.host if host is None else host
    port = settings.receiver.port if port is None else port
    if processes > 1:
        from app.cli.several import run_several  # noqa: PLC0415 - not for --help

        if port == 0:
            raise click.UsageError("several processes share one port: name it with --port.")
        arguments = ["--config", str(config), "--host", host, "--port", str(port), "--share-port"]
        volatile = ["--allow-volatile-redis"] * allow_volatile_redis
        return run_several("receiver", [*arguments, *volatile], processes)
    from app.http.main import run_receiver  # noqa: PLC0415 - not for --help

    return run_receiver(
        settings,
        host=host,
        port=port,
        allow_volatile_redis=allow_volatile_redis,
        reload=partial(read_settings, config),
        reuse_port=share_port,
    )
