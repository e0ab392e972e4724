"""Durable creates per second of one receiver process, against other SCIM servers in memory.

    python benchmarks/peers.py [--seconds 2] [--rounds 3]

The peers, each in one process and without a disk: `scim2-server` (Python), by its command, which
closes each connection, and by a server that keeps them (waitress); and `scimmy` (Node). They are
installed once, outside of this project, into ~/.cache/clickhouse-scim-peers; without `npm` the last
one is left out. All are sent the same bodies, over 64 connections or, where they are closed,
over 4, in turns, so that all meet the same machine; a ratio is the median of the rounds' ratios.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.child import Program
from app.sandbox.ports import choose_ports
from benchmarks.alone import TENANT, is_open, programs, receiver_alone, until
from benchmarks.creates import PATH, person
from benchmarks.load import drive, request

HERE = Path(__file__).parent / "peer_servers"
PYTHON = ("scim2-server==0.8.3", "waitress==3.0.2")
NODE = ("scimmy@1.3.5", "scimmy-routers@1.3.2", "express@5.1.0")
CONNECTIONS, REOPENED = 64, 4


@dataclass(frozen=True, slots=True)
class Peer:
    """`command`: less the port, which comes last. `keeps`: connections."""

    command: Sequence[str]
    path: str
    keeps: bool = True


def installed(cache: Path) -> dict[str, Peer]:
    """Return the peers; install what is missing."""
    python = cache / "python" / "bin" / "python"
    if not python.exists():
        venv.create(cache / "python", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PYTHON], check=True)
    own = [str(python.with_name("scim2-server")), "--port"]
    peers = {
        "scim2-server": Peer(own, "/v2/Users", keeps=False),
        "scim2-server, waitress": Peer([str(python), str(HERE / "scim2.py")], "/v2/Users"),
    }
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        print("npm is not here: scimmy is left out", file=sys.stderr)
        return peers
    if not (cache / "node" / "node_modules" / "scimmy").exists():
        (cache / "node").mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "install", "--silent", "--prefix", cache / "node", *NODE],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    # Node looks for packages beside the program, not where it was started.
    shutil.copy(HERE / "scimmy.mjs", cache / "node")
    peers["scimmy"] = Peer([node, str(cache / "node" / "scimmy.mjs")], "/scim/Users")
    return peers


@asynccontextmanager
async def serving(command: Sequence[str], log: Path) -> AsyncIterator[int]:
    """Yield the port of a peer."""
    port = choose_ports(("peer",), {}, random.Random())["peer"]
    async with programs(Program(name=log.stem, arguments=[*command, str(port)], log=log)):
        await until(partial(is_open, port))
        yield port


def creates(path: str, token: str, numbers: Iterator[int]) -> Iterator[bytes]:
    headers = {"Content-Type": "application/scim+json", "Authorization": f"Bearer {token}"}
    for number in numbers:
        yield request("POST", path, headers, msgspec.json.encode(person(number)))


async def run(seconds: float, rounds: int) -> dict[str, dict[str, float]]:
    """Return the creates per second of each server, and how many times that is of ours."""
    peers, numbers = installed(_cache()), count()
    per_second: dict[str, list[float]] = {name: [] for name in ("receiver", *peers)}
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-peers-") as name:
        folder = Path(name)
        async with receiver_alone(folder) as alone:
            for _ in range(rounds):
                # A peer with many users is slower: each round begins with a new one.
                for title, peer in peers.items():
                    bodies = creates(peer.path, "any", numbers)
                    async with serving(peer.command, folder / f"{title}.log") as port:
                        sending = _kept if peer.keeps else _reopened
                        per_second[title].append(await sending(port, bodies, seconds))
                bodies = creates(PATH, alone.tokens[TENANT], numbers)
                per_second["receiver"].append(await _kept(alone.port, bodies, seconds))
    ours = per_second["receiver"]
    return {
        name: {
            "per_second": round(statistics.median(rates)),
            "ratio": round(statistics.median(o / r for o, r in zip(ours, rates, strict=True)), 1),
        }
        for name, rates in per_second.items()
    }


async def _kept(port: int, requests: Iterator[bytes], seconds: float) -> float:
    """Return how many were answered a second."""
    load = await drive(port, requests, connections=CONNECTIONS, seconds=seconds)
    if set(load.statuses) != {201}:
        raise SystemExit(f"not every create was a 201: {dict(load.statuses)}")
    return load.per_second


async def _reopened(port: int, requests: Iterator[bytes], seconds: float) -> float:
    """Return the same where each request needs a connection of its own."""
    started, answered = time.perf_counter(), 0

    async def send() -> None:
        nonlocal answered
        while time.perf_counter() < started + seconds:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(next(requests))
            answer = await reader.read()
            writer.close()
            if answer[9:12] != b"201":
                raise SystemExit(f"not every create was a 201: {answer[:200]!r}")
            answered += 1

    await asyncio.gather(*(send() for _ in range(REOPENED)))
    return answered / (time.perf_counter() - started)


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "clickhouse-scim-peers"


def main() -> int:
    parser = argparse.ArgumentParser(description="Durable creates against other SCIM servers.")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures = asyncio.run(run(options.seconds, options.rounds))
    table = Table(box=box.SIMPLE_HEAD, title="creates, one process each")
    for column in ("", "per second", "ours is so many times that"):
        table.add_column(column, justify="right" if column else "left")
    for name, figure in figures.items():
        table.add_row(name, f"{figure['per_second']:g}", f"{figure['ratio']:g}")
    Console().print(table)
    print(json.dumps({"benchmark": "peers", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
