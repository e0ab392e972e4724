"""The ratios that this project claims, against those that are kept: under three minutes.

    python benchmarks/quick.py [--keep]

Runs the benchmarks in a short form and compares their ratios with `benchmarks/baseline.json`. A
ratio that is more than a fifth worse fails. `--keep` writes what was measured as the new baseline.
Ratios are to something that is measured in the same run, so that a slower machine changes little.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
WORSE = 0.2


@dataclass(frozen=True, slots=True)
class Claim:
    """`ratio` takes it out of the line of JSON; `more`: whether more is better."""

    name: str
    benchmark: str
    ratio: Callable[[Mapping[str, Any]], float]
    more: bool = False


RUNS = {
    "creates": ("creates.py", "--seconds", "2", "--rounds", "3"),
    "growth": ("growth.py", "--users", "20000", "--members", "10000", "--times", "150"),
    "latency": ("latency.py", "--changes", "90"),
    "draining": ("draining.py", "--events", "2000", "--rounds", "2"),
    "tenants": (
        "tenants.py",
        *("--tenants", "2000", "--active", "20"),
        *("--seconds", "12", "--rate", "10"),
    ),
}
CLAIMS = (
    Claim("durable creates / bare handler", "creates", lambda f: f["ratio"], more=True),
    Claim("processor time of a create / bare handler", "creates", lambda f: f["cpu_ratio"]),
    Claim("look-up, 20,000 / 1,000 users", "growth", lambda f: f["look-up"]["ratio"]),
    Claim("create, 20,000 / 1,000 users", "growth", lambda f: f["create"]["ratio"]),
    Claim("cursor page, 20,000 / 1,000 users", "growth", lambda f: f["cursor page"]["ratio"]),
    Claim("one member, 10,000 / 10 members", "growth", lambda f: f["member"]["ratio"]),
    Claim("events applied / one job each", "draining", lambda f: f["ratio"], more=True),
    Claim("worker, 2,000 / 20 tenants, 20 active", "tenants", lambda f: f["ratio"]["worker"]),
    Claim(
        "2xx to applied / bare statement",
        "latency",
        lambda f: f["acknowledged_ms"]["p50"] / f["statement_ms"]["p50"],
    ),
)


def measured(arguments: tuple[str, ...]) -> dict[str, Any]:
    """Run a benchmark; return its line of JSON. Raises CalledProcessError."""
    program, *options = arguments
    command = [sys.executable, str(HERE / program), *options]
    print(f"… {program} {' '.join(options)}", file=sys.stderr)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def is_worse(claim: Claim, now: float, kept: float) -> bool:
    return now < kept * (1 - WORSE) if claim.more else now > kept * (1 + WORSE)


def main() -> int:
    parser = argparse.ArgumentParser(description="The claimed ratios, against the kept ones.")
    parser.add_argument("--keep", action="store_true", help="write the new baseline")
    options = parser.parse_args()
    figures = {name: measured(arguments) for name, arguments in RUNS.items()}
    now = {claim.name: round(claim.ratio(figures[claim.benchmark]), 3) for claim in CLAIMS}
    if options.keep:
        BASELINE.write_text(json.dumps(now, indent=2) + "\n")
    kept = json.loads(BASELINE.read_text())
    table = Table(box=box.SIMPLE_HEAD, title="ratios")
    for column in ("", "now", "kept", ""):
        table.add_column(column, justify="right" if column else "left")
    worse = [claim.name for claim in CLAIMS if is_worse(claim, now[claim.name], kept[claim.name])]
    for name, ratio in now.items():
        table.add_row(name, f"{ratio:g}", f"{kept[name]:g}", "worse" if name in worse else "")
    Console().print(table)
    print(json.dumps({"benchmark": "quick", "ratios": now, "worse": worse}))
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
