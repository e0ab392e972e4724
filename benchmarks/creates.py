"""Durable creates per second of one receiver process, against a bare aiohttp handler.

    python benchmarks/creates.py [--seconds 3] [--rounds 5] [--connections 64]

Redis writes each change to disk before it acknowledges (`appendfsync always`). The two take turns,
so that both meet the same machine; the ratio is the median of the rounds' ratios. The bare handler
parses the same bodies and answers as many bytes, without Redis, tokens or SCIM. The processor time
of each is told too: where the machine has other work, that is the steadier figure.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.scim.schema import ENTERPRISE_URN, USER_URN
from benchmarks.alone import TENANT, Alone, Bare, bare_handler, receiver_alone
from benchmarks.load import Load, drive, request
from benchmarks.processes import cpu_ms

PATH = f"/scim/{TENANT}/v2/Users"


def person(number: int) -> dict[str, object]:
    """Return a user as Okta creates one."""
    name = f"person{number}.of.{time.time_ns()}@acme.example"
    return {
        "schemas": [USER_URN, ENTERPRISE_URN],
        "userName": name,
        "externalId": f"00u{number:017d}",
        "name": {"givenName": "Ada", "familyName": f"Lovelace {number}"},
        "emails": [{"primary": True, "value": name, "type": "work"}],
        "displayName": f"Ada Lovelace {number}",
        "locale": "en-US",
        "phoneNumbers": [{"value": "+44 20 7946 0000", "type": "work"}],
        "title": "Analyst",
        ENTERPRISE_URN: {"department": "Analytics", "employeeNumber": str(number)},
        "active": True,
    }


def creates(headers: dict[str, str], numbers: Iterator[int]) -> Iterator[bytes]:
    for number in numbers:
        yield request("POST", PATH, headers, msgspec.json.encode(person(number)))


@dataclass(frozen=True, slots=True)
class Turn:
    """`cpu_us`: processor time of the serving process for each request."""

    load: Load
    cpu_us: float


async def run(seconds: float, rounds: int, connections: int) -> dict[str, object]:
    numbers = count(1)
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-creates-") as folder:
        async with receiver_alone(Path(folder)) as receiver:
            headers = {
                "Authorization": f"Bearer {receiver.tokens[TENANT]}",
                "Content-Type": "application/scim+json",
            }

            async def turn(at: Alone | Bare) -> Turn:
                before_ms = cpu_ms([at.pid])
                load = await drive(
                    at.port, creates(headers, numbers), connections=connections, seconds=seconds
                )
                return Turn(load, (cpu_ms([at.pid]) - before_ms) * 1000 / len(load.taken_s))

            warm = (await turn(receiver)).load
            async with bare_handler(warm.answer_bytes) as bare:
                await turn(bare)
                turns = [(await turn(receiver), await turn(bare)) for _ in range(rounds)]
    pairs = [(ours.load, other.load) for ours, other in turns]
    statuses = sum((ours.statuses for ours, _ in pairs), warm.statuses)
    if set(statuses) != {201}:
        raise SystemExit(f"not every create was a 201: {dict(statuses)}")
    taken = sorted(s for ours, _ in pairs for s in ours.taken_s)
    return {
        "connections": connections,
        "creates_per_s": round(statistics.median(ours.per_second for ours, _ in pairs)),
        "bare_per_s": round(statistics.median(bare.per_second for _, bare in pairs)),
        "ratio": round(statistics.median(o.per_second / b.per_second for o, b in pairs), 3),
        "cpu_us": round(statistics.median(ours.cpu_us for ours, _ in turns)),
        "bare_cpu_us": round(statistics.median(other.cpu_us for _, other in turns)),
        "cpu_ratio": round(statistics.median(o.cpu_us / b.cpu_us for o, b in turns), 2),
        "p50_ms": round(taken[len(taken) // 2] * 1000, 1),
        "p99_ms": round(taken[int(len(taken) * 0.99)] * 1000, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Durable creates against a bare handler.")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    figures = asyncio.run(run(options.seconds, options.rounds, options.connections))
    table = Table(box=box.SIMPLE_HEAD, title="durable creates, one receiver process")
    for column in ("", "per second", "CPU µs each", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right" if column else "left")
    ours = (figures[name] for name in ("creates_per_s", "cpu_us", "p50_ms", "p99_ms"))
    bare = (figures["bare_per_s"], figures["bare_cpu_us"], "", "")
    table.add_row("receiver", *map(str, ours))
    table.add_row("bare handler (baseline)", *map(str, bare))
    table.add_row("ratio", str(figures["ratio"]), str(figures["cpu_ratio"]), "", "")
    Console().print(table)
    print(json.dumps({"benchmark": "creates", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
