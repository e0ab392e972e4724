from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.main import main

GOOD = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


def test_json_of_a_good_file_is_an_empty_array(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(GOOD)
    assert main(["check-config", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_json_has_each_mistake_with_key_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(GOOD + "[ledger]\n[foo]\n")
    assert main(["check-config", "--json", str(file)]) == 2
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [row["key"] for row in found] == ["foo", "ledger.url"]
    assert printed.err.splitlines() == [f"{row['key']}: {row['reason']}" for row in found]
