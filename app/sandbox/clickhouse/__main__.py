"""`python -m app.sandbox.clickhouse --port P --data-dir D`: one sandbox server until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart

_NEEDED = ("chdb", "bcrypt", "lz4", "zstd", "clickhouse_cityhash")
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
    parser.add_argument("--data-dir", type=Path, required=True, help="users, tables and journal")
    parser.add_argument("--control-port", type=int, help="switches for tests, on loopback")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    _say(_WARNING)
    try:
        asyncio.run(_serve(options.host, options.port, options.data_dir, options.control_port))
    except CannotStart as error:
        _say(f"clickhouse sandbox: {error}")
        return 1
    return 0


async def _serve(host: str, port: int, directory: Path, control_port: int | None) -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise CannotStart(f"{', '.join(missing)} not installed; run: {_ADVICE}")
    from app.sandbox.clickhouse.server import Server  # noqa: PLC0415  it imports what is needed
    from app.sandbox.clickhouse.switches import Switches  # noqa: PLC0415

    switches = Switches()
    server = Server(directory, switches)
    listening = await server.listen(host, port)
    control_at = None
    if control_port is not None:
        from app.sandbox.clickhouse.control import open_control  # noqa: PLC0415  0.3 s for aiohttp

        control_at = await open_control(switches, control_port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # after the engine, which installs its own
        loop.add_signal_handler(number, stop.set)
    sys.stdout.write(f"ClickHouse sandbox ready on {host}:{listening.port} pid {os.getpid()}\n")
    if control_at is not None:
        sys.stdout.write(f"ClickHouse sandbox control on 127.0.0.1:{control_at}\n")
    sys.stdout.flush()
    await stop.wait()
    await server.close(listening)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the engine's threads are not worth waiting for: what counts is on disk
