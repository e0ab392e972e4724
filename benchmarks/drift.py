"""What `plan` and `drift check` cost on a target with many users.

    python benchmarks/drift.py [--users 100000]

Starts a Redis and a sandbox server, loads a directory of `--users` people in groups of 1,000 that
each give a role, and runs the commands as an operator would: `plan` with everything yet to do; then
what it says is done, statement by statement, and nothing is left for `plan` and `drift check`; and
`drift check` with one user in 100 changed by hand. Of each: seconds, and the CPU and the most
memory of the command's process. Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from app.child import Program
from app.config.rolemap import name_key
from app.directory.directory import Directory
from app.directory.link import connect
from app.sandbox.ports import choose_ports
from app.sandbox.running import PROGRAM
from app.sandbox.session import log_in
from benchmarks.alone import TENANT, programs, receiver_alone
from benchmarks.growth import ORIGIN, load

GROUP = 1000
CHANGED = 100  # one user in so many
CONFIG = """\
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:CLICKHOUSE"]
user = "default"
[guard]
max_share = 1
[drift]
interval_seconds = 0
[tenants.acme]
targets = ["main"]
default_roles = ["employee"]
authentication = {{ method = "no_password" }}
[[tenants.acme.groups]]
pattern = "Team *"
roles = ["team_{{1}}"]
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """`found`: rows of a drift, statements of a plan."""

    command: str
    found: int
    seconds: float
    cpu_s: float
    memory_mib: float


def run(config: Path, *arguments: str) -> tuple[Cost, list[dict[str, Any]]]:
    """Return what the command cost, and what it told."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            [*PROGRAM, *arguments, "--config", str(config), "--json"], stdout=out
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        rows: list[dict[str, Any]] = json.loads(out.read() or b"[]")
    if process.returncode not in {0, 1}:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    found = sum(len(row["statements"]) for row in rows) if arguments[0] == "plan" else len(rows)
    cost = Cost(
        "plan" if arguments[0] == "plan" else "drift check",
        found,
        round(time.monotonic() - started, 1),
        round(used.ru_utime + used.ru_stime, 1),
        round(used.ru_maxrss / 1024, 1),
    )
    print(cost, file=sys.stderr)
    return cost, rows


async def fill(redis: str, users: int) -> None:
    link = connect(redis)
    ids = await load(link, TENANT, count(), users)
    directory = Directory(link, TENANT, ["main"])
    for number, first in enumerate(range(0, users, GROUP)):
        name, members = f"Team {number}", ids[first : first + GROUP]
        document = {"displayName": name}
        await directory.create(
            "group", document, ORIGIN, members=members, role_keys=(name_key(name),)
        )
    await link.close()


async def measured(users: int) -> list[Cost]:
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-drift-") as name:
        folder = Path(name)
        port = choose_ports(("clickhouse",), {}, random.Random())["clickhouse"]
        server = Program(
            name="clickhouse",
            arguments=[
                *(sys.executable, "-m", "app.sandbox.clickhouse"),
                *("--port", str(port), "--data-dir", str(folder / "clickhouse")),
            ],
        )
        text = CONFIG.replace("CLICKHOUSE", str(port))
        async with programs(server), receiver_alone(folder, configuration=text) as alone:
            await fill(alone.redis, users)
            url, config = (
                f"clickhouse://default:@127.0.0.1:{port}/default",
                folder / "clickhouse-scim.toml",
            )
            async with log_in(url) as administrator:
                for role in ["employee", *(f"team_{n}" for n in range((users - 1) // GROUP + 1))]:
                    await administrator.rows(f"CREATE ROLE {role}")
                cost, (plan,) = await asyncio.to_thread(run, config, "plan", TENANT)
                for statement in plan["statements"]:
                    await administrator.rows(statement["sql"])
                again, _ = await asyncio.to_thread(run, config, "plan", TENANT)
                costs = [cost, again, (await asyncio.to_thread(run, config, "drift", "check"))[0]]
                names = await administrator.rows(
                    "SELECT name FROM system.users WHERE like(name, '%@%') ORDER BY name"
                )
                for (user,) in names[::CHANGED]:
                    await administrator.rows(f"ALTER USER `{user}` HOST NONE")
            costs.append((await asyncio.to_thread(run, config, "drift", "check"))[0])
        return costs


def main() -> int:
    parser = argparse.ArgumentParser(description="Plan and drift on a large target.")
    parser.add_argument("--users", type=int, default=100_000)
    users = parser.parse_args().users
    costs = asyncio.run(measured(users))
    table = Table("command", "found", "seconds", "CPU s", "MiB", box=box.SIMPLE)
    for cost in costs:
        table.add_row(*(str(value) for value in asdict(cost).values()))
    Console().print(table)
    print(json.dumps({"benchmark": "drift", "users": users, "costs": [asdict(c) for c in costs]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
