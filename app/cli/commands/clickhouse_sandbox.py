"""Run one ClickHouse sandbox server, for development."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command("clickhouse-sandbox")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Native protocol.")
@click.option("--http-port", type=click.IntRange(1, 65535), help="HTTP interface.")
@click.option("--secure-port", type=click.IntRange(1, 65535), help="Native protocol with TLS.")
@click.option("--https-port", type=click.IntRange(1, 65535), help="HTTP interface with TLS.")
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM; without one the server makes a certificate of its own.",
)
@click.option("--tls-key", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option(
    "--control-port",
    type=click.IntRange(1, 65535),
    help="HTTP and JSON, by which a test makes the server fail (docs/sandbox.md).",
)
@click.option(
    "--max-concurrent-queries",
    type=click.IntRange(min=0),
    metavar="N",
    help="More at once are answered 202. 0: any number.",
)
@click.option("--cluster", metavar="NAME", help="Be a node of this cluster.")
@click.option("--node", "nodes", metavar="HOST:PORT", multiple=True, help="Each node of it.")
@click.option(
    "--keeper",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder that its nodes share.",
)
@click.option("--replicated", is_flag=True, help="Its nodes share one access storage.")
@click.option(
    "--lag",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How late a node sees what others did to that.",
)
def command(
    *,
    host: str,
    port: int,
    http_port: int | None,
    secure_port: int | None,
    https_port: int | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    data_dir: Path,
    control_port: int | None,
    max_concurrent_queries: int | None,
    cluster: str | None,
    nodes: tuple[str, ...],
    keeper: Path | None,
    replicated: bool,
    lag: float | None,
) -> None:
    """Run the ClickHouse engine of the chdb-core package as a server until SIGTERM.

    For development: it is one process with one engine, no server for anybody's data.

    Example: clickhouse-scim clickhouse-sandbox --port 9000 --http-port 8123 --data-dir /tmp/ch
    """
    if cluster is not None and not (nodes and keeper):
        raise click.UsageError("--cluster needs --node for each of its nodes, and --keeper.")
    if cluster is None and (nodes or keeper or replicated or lag is not None):
        raise click.UsageError("--node, --keeper, --replicated and --lag need --cluster.")
    if bool(tls_cert) != bool(tls_key):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    # The engine wants a process that has done nothing else; exec keeps the id that callers know.
    arguments = ["--host", host, "--port", str(port), "--data-dir", str(data_dir)]
    asked = {
        "--http-port": http_port,
        "--secure-port": secure_port,
        "--https-port": https_port,
        "--tls-cert": tls_cert,
        "--tls-key": tls_key,
        "--control-port": control_port,
        "--max-concurrent-queries": max_concurrent_queries,
    }
    for name, value in asked.items():
        if value is not None:
            arguments += [name, str(value)]
    if cluster is not None:
        arguments += ["--cluster", cluster, "--keeper", str(keeper)]
        arguments += [word for node in nodes for word in ("--node", node)]
    if replicated:
        arguments.append("--replicated")
    if lag is not None:
        arguments += ["--lag", str(lag)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "app.sandbox.clickhouse", *arguments])  # noqa: S606
