"""The demo as it is run, and the lines that it writes."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from app.sandbox.telling import Teller

PROGRAM = [sys.executable, "-m", "app.cli.main", "demo"]


@pytest.mark.parametrize("existing", [False, True], ids=["own server", "CLICKHOUSE_URL"])
async def test_every_check_of_the_day_holds(
    existing: bool, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        monkeypatch.setenv("CLICKHOUSE_URL", server_url)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*PROGRAM, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    text = out.decode()
    assert "✗" not in text
    assert (process.returncode, err) == (0, b"")
    held = re.search(r"^(\d+) checks held", text, re.MULTILINE)
    assert held is not None
    assert int(held[1]) == text.count("✓") > 25
    assert (server_url in text) == existing
    assert all(line == line.rstrip() for line in text.splitlines() if line.startswith("  ✓"))


async def test_ctrl_c_stops_the_sandbox_too() -> None:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    text = (await asyncio.wait_for(process.stdout.readuntil(b"Receiver"), 60)).decode()
    found = re.search(r"redis://127\.0\.0\.1:(\d+)/", text)
    assert found
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (1, b"")
    assert "interrupted; the sandbox has been stopped" in out.decode()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(found[1]))


def test_a_check_that_fails_is_told_again_at_the_end() -> None:
    written = StringIO()
    teller = Teller(Console(file=written, width=80))
    teller.check(True, "the sun rises")
    teller.check(False, "water flows upwards", "it does not")
    assert teller.end(1.0) == 1
    lines = [line.strip() for line in written.getvalue().splitlines()]
    assert "1 checks failed, 1 held, after 1.0 s." in lines
    assert lines[-1] == "failed: water flows upwards"


def test_the_commands_to_try_next_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `make demo` the program is in .venv, where no PATH leads."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "clickhouse-scim").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    written = StringIO()
    assert Teller(Console(file=written)).end(1.0) == 0
    assert "  .venv/bin/clickhouse-scim sandbox  " in written.getvalue()
