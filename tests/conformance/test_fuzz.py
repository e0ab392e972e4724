"""A short run of the fuzzer; `python benchmarks/fuzz.py` is the long one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_requests_made_by_chance_break_nothing() -> None:
    """No 5xx, every error SCIM's, nobody else changed, no secret told: the command's own claims."""
    command = [sys.executable, "benchmarks/fuzz.py", "--requests", "1500", "--seed", "7"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    line = json.loads(ended.stdout)
    assert line["findings"] == []
    assert line["requests"] == 1500
    assert line["succeeded"] > 300, "it must not fail at the door only"
