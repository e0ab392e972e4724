"""`--processes N`: one command, run in several processes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from app.child import Program, run_alike
from app.cli.options import this_program


def run_several(name: str, arguments: Sequence[str], processes: int) -> int:
    """Run `clickhouse-scim NAME ARGUMENTS` in `processes` processes; return the exit code."""
    programs = [
        Program(name=f"{name} {number}", arguments=this_program(name, *arguments))
        for number in range(1, processes + 1)
    ]
    return asyncio.run(run_alike(programs, say=lambda text: print(text, file=sys.stderr)))
