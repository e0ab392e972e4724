"""The engine is opened where it is known, and left alone where it is not."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from app.sandbox.clickhouse.builds import BUILDS, read_build_id

SPEC = find_spec("chdb")
assert SPEC is not None
assert SPEC.origin is not None
LIBRARY = Path(SPEC.origin).parent / "_chdb.abi3.so"

OPEN = """
import os, sys
from pathlib import Path
from app.sandbox.clickhouse import builds, opening
from app.sandbox.clickhouse.engine import Engine
from app.sandbox.clickhouse.engine_config import render_config
from app.sandbox.clickhouse.faults import CannotStart
{change}
try:
    engine = Engine.start(Path({directory!r}), render_config(9000, None), "local_directory")
    {then}
    print("open")
except CannotStart as error:
    print("refused:", error)
finally:
    sys.stdout.flush()
    os._exit(0)
"""


def open_engine(tmp_path: Path, change: str = "", then: str = "pass") -> str:
    program = OPEN.format(change=change, then=then, directory=str(tmp_path / "engine"))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_the_installed_build_is_known_by_its_id() -> None:
    assert BUILDS[read_build_id(LIBRARY)].size == LIBRARY.stat().st_size


@pytest.mark.parametrize("content", [b"", b"not an ELF file" * 10, b"\x7fELF\x02\x01" + bytes(58)])
def test_a_file_without_a_build_id_has_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "library").write_bytes(content)
    assert read_build_id(tmp_path / "library") == ""


def test_it_opens_what_it_knows(tmp_path: Path) -> None:
    """How long it takes, benchmarks/sandbox_server.py tells."""
    assert open_engine(tmp_path) == "open"


CHANGED = (
    "from dataclasses import replace; "
    "opening.BUILDS = {{k: replace(b, {}) for k, b in builds.BUILDS.items()}}"
)
REFUSALS = {
    "unknown build": ("opening.BUILDS = {}", "this build of the embedded engine is not known"),
    "other platform": (
        "opening.platform.machine = lambda: 'riscv64'",
        "this build of the embedded engine is not known (Linux riscv64",
    ),
    "damaged file": (
        CHANGED.format("size=1"),
        "is damaged; reinstall chdb-core",
    ),
    "another layout": (
        CHANGED.format("users=b.memory"),
        "is laid out in another way",
    ),
    "another storage": ("opening._STORAGE_SIZE = 8", "storage is built in another way"),
    "other switches": ("opening._SWITCHES = b'nowhere in the object'", "switches were not found"),
    "other custom settings": ("opening._PREFIXES = -16", "custom settings were not found"),
    "another answer": ("opening._PROBE = 'SELECT throwIf(1)'", "the embedded engine answers 395"),
    "never asked": (
        "opening._PROBE = 'SELECT throwIf(1)'; opening._STORAGE_NOT_FOUND = 395",
        "access control was not found",
    ),
}


@pytest.mark.parametrize(("change", "reason"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_refuses_what_it_does_not_know_with_advice(
    tmp_path: Path, change: str, reason: str
) -> None:
    said = open_engine(tmp_path, change)
    assert said.startswith("refused: ")
    assert reason in said
    assert "CLICKHOUSE_URL" in said
    assert "\n" not in said


def test_it_is_not_opened_twice(tmp_path: Path) -> None:
    again = f"opening.open_access_control(Path({str(LIBRARY)!r}), engine._first.run, 'x', ())"
    assert open_engine(tmp_path, then=again) == (
        "refused: the embedded engine is open already: this must be done once"
    )
