"""Run one ClickHouse sandbox server, for development."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command("clickhouse-sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Native protocol.")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option(
    "--control-port",
    type=click.IntRange(1, 65535),
    help="HTTP and JSON, by which a test makes the server fail (docs/sandbox.md).",
)
def command(*, host: str, port: int, data_dir: Path, control_port: int | None) -> None:
    """Run the ClickHouse engine of the chdb-core package behind the native protocol until SIGTERM.

    For development: it is one process with one engine, no server for anybody's data.

    Example: clickhouse-scim clickhouse-sandbox --port 9000 --data-dir /tmp/clickhouse
    """
    # The engine wants a process that has done nothing else; exec keeps the id that callers know.
    arguments = ["--host", host, "--port", str(port), "--data-dir", str(data_dir)]
    if control_port is not None:
        arguments += ["--control-port", str(control_port)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "app.sandbox.clickhouse", *arguments])  # noqa: S606
