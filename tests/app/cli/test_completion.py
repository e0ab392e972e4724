"""What a shell is told when somebody presses the tabulator key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import main

PROGRAM = Path(sys.executable).parent / "clickhouse-scim"


def completed(line: str) -> set[str]:
    """Return what bash would offer at the end of `line`."""
    words = line.split(" ")
    environ = os.environ | {
        "_CLICKHOUSE_SCIM_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    ran = subprocess.run([PROGRAM], env=environ, capture_output=True, text=True, check=True)
    return {answer.partition(",")[2] for answer in ran.stdout.splitlines()}


LINES = {
    "a command": ("clickhouse-scim prov", {"provisioner-grants"}),
    "a part of a group": ("clickhouse-scim lane res", {"resume", "resync"}),
    "an option": ("clickhouse-scim token create --exp", {"--expires-in"}),
    "a choice": ("clickhouse-scim doctor --as e", {"entra"}),
}


@pytest.mark.parametrize(("line", "offered"), LINES.values(), ids=LINES.keys())
def test_what_fits_is_offered(line: str, offered: set[str]) -> None:
    assert completed(line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_calls_the_program(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    printed = capsys.readouterr().out
    assert f"_CLICKHOUSE_SCIM_COMPLETE={shell}_complete" in printed


def test_bash_can_read_its_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    file = tmp_path / "completion"
    file.write_text(capsys.readouterr().out)
    subprocess.run(["bash", "-n", str(file)], check=True)
