"""`python -m app.sandbox.clickhouse --port P --data-dir D`: one sandbox server until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart
from app.sandbox.clickhouse.membership import Membership, join_cluster
from app.sandbox.clickhouse.tls import KeyPair

_NEEDED = (
    "aiohttp",
    "backports.zstd",
    "chdb",
    "bcrypt",
    "cryptography",
    "lz4",
    "zstd",
    "clickhouse_cityhash",
)
_ADVICE = "pip install 'clickhouse-scim[sandbox]'"
_WARNING = (
    "This is the ClickHouse sandbox: a server for development and tests around the embedded "
    "engine. Keep nothing here that you cannot lose."
)


def main() -> int:
    """Run until SIGTERM or SIGINT; 0. Where the server cannot start: one line on stderr; 1."""
    parser = argparse.ArgumentParser(prog="python -m app.sandbox.clickhouse", description=_WARNING)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port; 0 takes a free one")
    parser.add_argument("--http-port", type=int, help="port of the HTTP interface")
    parser.add_argument("--secure-port", type=int, help="port of the native protocol with TLS")
    parser.add_argument("--https-port", type=int, help="port of the HTTP interface with TLS")
    parser.add_argument("--tls-cert", type=Path, help="PEM; without one the server makes its own")
    parser.add_argument("--tls-key", type=Path, help="PEM")
    parser.add_argument("--data-dir", type=Path, required=True, help="users, tables and journal")
    parser.add_argument("--control-port", type=int, help="switches for tests, on loopback")
    parser.add_argument(
        "--max-concurrent-queries", type=int, default=0, metavar="N", help="0: any number"
    )
    cluster = parser.add_argument_group("a node of a cluster")
    cluster.add_argument("--cluster", metavar="NAME", help="the cluster's name")
    cluster.add_argument("--node", metavar="HOST:PORT", action="append", default=[], help="each")
    cluster.add_argument("--keeper", metavar="DIR", type=Path, help="what the nodes share")
    cluster.add_argument("--replicated", action="store_true", help="one access storage for all")
    cluster.add_argument("--lag", metavar="SECONDS", type=float, default=0.0, help="of that one")
    options = parser.parse_args()
    if options.cluster and not (options.node and options.keeper):
        parser.error("--cluster wants --node for each node, and --keeper")
    if bool(options.tls_cert) != bool(options.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    # What is no HTTP is answered, and no news with its whole text for the log.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    _say(_WARNING)
    # A connection is a file, and so is a column of a part of a table.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(_serve(options))
    except CannotStart as error:
        _say(f"clickhouse sandbox: {error}")
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(f"{', '.join(missing)} not installed; run: {_ADVICE}")
    from app.sandbox.clickhouse.server import Server  # noqa: PLC0415  it imports what is needed
    from app.sandbox.clickhouse.switches import Switches  # noqa: PLC0415

    def join(port: int) -> Membership:
        return join_cluster(
            options.cluster,
            options.node,
            port,
            options.keeper.absolute(),
            replicated=options.replicated,
            lag_s=options.lag,
        )

    switches = Switches()
    pair = (
        KeyPair(options.tls_cert.absolute(), options.tls_key.absolute())
        if options.tls_cert
        else None
    )
    server = Server(
        options.data_dir,
        switches,
        join=join if options.cluster else None,
        key_pair=pair,
        limit=options.max_concurrent_queries,
    )
    wanted = {
        "native": options.port,
        "http": options.http_port,
        "secure": options.secure_port,
        "https": options.https_port,
    }
    ports = await server.listen(
        options.host, {name: port for name, port in wanted.items() if port is not None}
    )
    control_at = None
    if options.control_port is not None:
        from app.sandbox.clickhouse.control import open_control  # noqa: PLC0415  0.3 s for aiohttp

        control_at = await open_control(switches, options.control_port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # after the engine, which installs its own
        loop.add_signal_handler(number, stop.set)
    native = ports.pop("native")
    sys.stdout.write(f"ClickHouse sandbox ready on {options.host}:{native} pid {os.getpid()}\n")
    for name, port in ports.items():
        sys.stdout.write(f"ClickHouse sandbox {name} on {options.host}:{port}\n")
    if control_at is not None:
        sys.stdout.write(f"ClickHouse sandbox control on 127.0.0.1:{control_at}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.close()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the engine's threads are not worth waiting for: what counts is on disk
