"""docs/operations.md names what there is to watch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from app.directory.lanes import State

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")


def test_the_states_of_a_lane_are_those_that_there_are() -> None:
    scripts = "".join(
        file.read_text("utf-8") for file in (ROOT / "app/directory/lua").glob("lane_*.lua")
    )
    states = {
        state
        for call in re.findall(r"set_state\((.*)\)", scripts)
        for state in re.findall(r"'([a-z-]{2,})'", re.sub(r"redis\.call\(.*?\)", "", call))
    }
    assert states | {"blocked"} == set(get_args(State))
    table = PAGE.partition("## Lanes")[2].partition("\n\n`lane resync")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(get_args(State))


def test_the_events_of_the_log_that_it_names_are_logged() -> None:
    code = "".join(
        file.read_text("utf-8")
        for part in ("app", "workers")
        for file in ROOT.glob(f"{part}/**/*.py")
    )
    for event in re.findall(r"`((?:request|lane|resource)\.[a-z_]+)`", PAGE):
        assert f'"{event}"' in code
