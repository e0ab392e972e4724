"""Durable creates per second of one receiver process, against a bare aiohttp handler.

    python benchmarks/creates.py [--seconds 3] [--rounds 5] [--connections 64]

Redis writes each change to disk before it acknowledges (`appendfsync always`). The two take turns,
so that both meet the same machine; the ratio is the median of the rounds' ratios. The bare handler
parses the same bodies and answers as many bytes, without Redis, tokens or SCIM.
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
from itertools import count
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from app.scim.schema import ENTERPRISE_URN, USER_URN
from benchmarks.alone import TENANT, bare_handler, receiver_alone
from benchmarks.load import Load, drive, request

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


async def run(seconds: float, rounds: int, connections: int) -> dict[str, object]:
    numbers = count(1)
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-creates-") as folder:
        async with receiver_alone(Path(folder)) as receiver:
            headers = {
                "Authorization": f"Bearer {receiver.tokens[TENANT]}",
                "Content-Type": "application/scim+json",
            }

            async def turn(port: int) -> Load:
                return await drive(
                    port, creates(headers, numbers), connections=connections, seconds=seconds
                )

            warm = await turn(receiver.port)
            async with bare_handler(warm.answer_bytes) as port:
                await turn(port)
                pairs = [(await turn(receiver.port), await turn(port)) for _ in range(rounds)]
    statuses = sum((ours.statuses for ours, _ in pairs), warm.statuses)
    if set(statuses) != {201}:
        raise SystemExit(f"not every create was a 201: {dict(statuses)}")
    taken = sorted(s for ours, _ in pairs for s in ours.taken_s)
    return {
        "connections": connections,
        "creates_per_s": round(statistics.median(ours.per_second for ours, _ in pairs)),
        "bare_per_s": round(statistics.median(bare.per_second for _, bare in pairs)),
        "ratio": round(statistics.median(o.per_second / b.per_second for o, b in pairs), 3),
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
    for column in ("", "per second", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right" if column else "left")
    ours = (figures["creates_per_s"], figures["p50_ms"], figures["p99_ms"])
    table.add_row("receiver", *map(str, ours))
    table.add_row("bare handler (baseline)", str(figures["bare_per_s"]), "", "")
    table.add_row("ratio", str(figures["ratio"]), "", "")
    Console().print(table)
    print(json.dumps({"benchmark": "creates", **figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
