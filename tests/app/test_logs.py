"""What a log line holds, and what it never does."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.logs import hide_messages

LOGGED = """
import logging, structlog
from app.logs import configure_logs
configure_logs()
log = structlog.get_logger()
log.info("request.answered", tenant="acme", status=201)
log.debug("never.shown")
try:
    raise ValueError("planted")
except ValueError:
    log.exception("request.failed", request_id="r-1")
    logging.getLogger("aiohttp.server").exception("Unhandled exception")
logging.getLogger("somebody").info("never shown")
logging.getLogger("somebody").warning("shown %s", "too")
"""


def lines(program: str) -> list[dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert ran.stdout == ""
    assert "planted" not in ran.stderr.replace('raise ValueError("planted")', "")
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_each_event_is_one_line_of_json_without_the_messages_of_exceptions() -> None:
    answered, failed, foreign, shown = lines(LOGGED)
    assert answered.pop("timestamp").endswith("Z")
    assert answered == {
        "event": "request.answered",
        "tenant": "acme",
        "status": 201,
        "level": "info",
    }
    assert (failed["event"], failed["error"]) == ("request.failed", "ValueError")
    assert "line 9" in failed["stack"]
    assert (foreign["logger"], foreign["error"]) == ("aiohttp.server", "ValueError")
    assert (shown["event"], shown["level"]) == ("shown too", "warning")


@pytest.mark.parametrize("form", ["exception", "tuple", "true", "nothing"])
def test_an_exception_is_told_by_type_and_place(form: str) -> None:
    try:
        int("planted")
    except ValueError as error:
        given: dict[str, object] = {
            "exception": error,
            "tuple": (type(error), error, error.__traceback__),
            "true": True,
            "nothing": None,
        }
        raised = {"event": "x", "exc_info": given[form]}
        line = hide_messages(logging.getLogger(), "error", raised)
    assert "exc_info" not in line
    assert "planted" not in json.dumps({**line, "stack": ""})
    assert line.get("error") == (None if form == "nothing" else "ValueError")


TURNS = """
import asyncio, os, structlog
from app.logs import configure_logs, every

def written():
    return os.fstat(2).st_size

async def main():
    configure_logs()
    log = structlog.get_logger()
    log.info("one.done")
    log.info("two.done")
    before = written()
    await asyncio.sleep(0)
    after = written()
    log.info("three.done")
    every("request.answered")({"status": 201})
    log.warning("four.seen")
    print(before, after > 0, written() > after)
    log.info("five.done")

asyncio.run(main())
"""


def test_lines_of_one_turn_are_written_together_and_those_of_trouble_at_once(
    tmp_path: Path,
) -> None:
    said = tmp_path / "log"
    with said.open("wb") as file:
        ran = subprocess.run(
            [sys.executable, "-c", TURNS], stdout=subprocess.PIPE, stderr=file, check=True
        )
    assert ran.stdout == b"0 True True\n"
    told = [json.loads(line) for line in said.read_text().splitlines()]
    names = ["one.done", "two.done", "three.done", "request.answered", "four.seen", "five.done"]
    assert [line["event"] for line in told] == names
    assert told[3].pop("status") == 201
    assert told[3].keys() == told[2].keys()
