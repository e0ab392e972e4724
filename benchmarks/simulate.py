"""What a fleet needs: receivers, Redis shards, lanes and targets as a discrete-event model.

    python benchmarks/simulate.py [--tenants 10000] [--users 5000000] [--syncing 10]
        [--receivers 4] [--shards 2] [--workers 4] [--targets 100] [--sizes]
    python benchmarks/simulate.py --check

A Monday morning: the tenants with the most users are synced whole, each by a provider that sends
its next request on a connection when the last one is answered; all others change now and then.
Told: the lag from a 2xx to the target, for those who are synced and for the others; how busy each
kind of process is; and which of them is the first that has no more to give.

`--sizes` doubles whatever is busiest until nothing is busier than 70 %, and prints each step.
`--check` measures service times on a sandbox here, foretells another load with them, plays that
load for real, and exits 1 if the two differ by more than 25 %.

The model (`fleet.py`): a process serves one thing at a time, in order. A receiver spends its time
on a write, then the tenant's shard on the commit, then the disk is waited for. A lane that has
something to do waits for a free worker process; that takes up to 500 users of its events, spends a
time on each batch and on each user of it, waits for answers in which nobody works, and has the
target do its part, which has one thing at a time to do as well. Where processes share a machine
(`--check`), what they do also needs one of its cores. What the model does not know: the ledger by
itself (its part is in the measured times), drift, and a disk that slows down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from app.sandbox.running import start
from benchmarks.calibrating import calibrated, played
from benchmarks.fleet import Costs, Fleet, Simulation, Tenant, monday, percentiles

BUSY = 0.7
APART = 0.25


def foretold(costs: Costs, fleet: Fleet, tenants: Sequence[Tenant]) -> dict[str, Any]:
    simulation = Simulation(costs, fleet, tenants)
    simulation.run()
    busy = {name: round(share, 2) for name, share in simulation.busy().items()}
    return {
        **{f.name: getattr(fleet, f.name) for f in fields(fleet) if f.name != "cores"},
        "sync_minutes": round(simulation.synced_at / 60_000, 1),
        "lag_synced_ms": percentiles(simulation.lags["synced"]),
        "lag_others_ms": percentiles(simulation.lags["others"]),
        "busy": busy,
        "breaks_first": max(busy, key=lambda name: busy[name]),
    }


def sizes(costs: Costs, fleet: Fleet, tenants: Sequence[Tenant]) -> Iterator[dict[str, Any]]:
    """Yield what is foretold while whatever is busiest is doubled; a target can't be."""
    while True:
        figures = foretold(costs, fleet, tenants)
        yield figures
        more = {"receiver": "receivers", "redis": "shards", "worker": "workers"}
        busiest = max(more, key=lambda name: figures["busy"][name])
        if figures["busy"][busiest] <= BUSY or getattr(fleet, more[busiest]) >= 64:
            return
        fleet = replace(fleet, **{more[busiest]: 2 * getattr(fleet, more[busiest])})


async def checked(creates: int) -> dict[str, Any]:
    """Measure service times with small loads, foretell a larger one, and play it."""
    names, cores = ("acme", "globex"), os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-simulate-") as name:
        folder = Path(name)
        async with start(folder, "--tenants", ",".join(names)) as sandbox:
            costs = await calibrated(sandbox, folder, names[0], creates // 2)
            tenants = [Tenant(sync=creates, connections=16) for _ in names]
            fleet = Fleet(receivers=1, shards=1, workers=1, targets=1, cores=cores)
            simulation = Simulation(costs, fleet, tenants)
            simulation.run()
            real = await played(sandbox, folder, names, creates, 16)
    expected = simulation.synced_at / 1000
    return {
        "creates": creates * len(names),
        "foretold_s": round(expected, 2),
        "real_s": round(real.applied_s, 2),
        "apart": round(abs(expected - real.applied_s) / real.applied_s, 3),
        "costs": {f.name: round(getattr(costs, f.name), 3) for f in fields(costs)},
    }


def show(rows: Sequence[dict[str, Any]], title: str) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=title)
    columns = (
        "receivers",
        "shards",
        "workers",
        "sync min",
        "synced p99 s",
        "others p50 ms",
        "others p99 s",
        "busy",
        "breaks first",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        busy = " ".join(f"{name[:2]} {share:.0%}" for name, share in row["busy"].items())
        synced, others = row["lag_synced_ms"], row["lag_others_ms"]
        table.add_row(
            str(row["receivers"]),
            str(row["shards"]),
            str(row["workers"]),
            f"{row['sync_minutes']}",
            f"{synced['p99'] / 1000:.2f}",
            f"{others['p50']:.0f}",
            f"{others['p99'] / 1000:.2f}",
            busy,
            row["breaks_first"],
        )
    Console(width=140).print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description="A fleet as a discrete-event model.")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--syncing", type=int, default=10, help="so many of the largest tenants")
    for name in ("receivers", "shards", "workers", "targets"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Fleet(), name))
    parser.add_argument("--sizes", action="store_true", help="add processes until it is enough")
    parser.add_argument("--check", action="store_true", help="against a real run on this machine")
    parser.add_argument("--creates", type=int, default=1500, help="of each tenant, with --check")
    options = parser.parse_args()
    if options.check:
        figures = asyncio.run(checked(options.creates))
        print(
            f"foretold {figures['foretold_s']} s, real {figures['real_s']} s,"
            f" {figures['apart']:.0%} apart"
        )
        print(json.dumps({"benchmark": "simulate --check", **figures}))
        return int(figures["apart"] > APART)
    fleet = Fleet(
        receivers=options.receivers,
        shards=options.shards,
        workers=options.workers,
        targets=options.targets,
    )
    tenants = monday(options.tenants, options.users, options.syncing)
    rows = (
        list(sizes(Costs(), fleet, tenants))
        if options.sizes
        else [foretold(Costs(), fleet, tenants)]
    )
    show(rows, f"{options.tenants:,} tenants, {options.users:,} users, {options.syncing} synced")
    print(json.dumps({"benchmark": "simulate", "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
