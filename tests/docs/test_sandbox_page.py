"""docs/sandbox.md names every switch of the control port, with its keys and their defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from app.sandbox.clickhouse.switches import AnyRule, OnStatement, Rule

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"


def test_the_page_names_every_switch_and_its_keys() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    told = {act: set(re.findall(r"`(\w+)`", keys)) for act, keys in rows if act != "act"}
    shared = set(Rule.__struct_fields__) | set(OnStatement.__struct_fields__)
    assert told == {
        kind.__struct_config__.tag: set(kind.__struct_fields__) - shared
        for kind in get_args(AnyRule)
    }
    assert all(f"`{key}`" in PAGE.read_text("utf-8") for key in shared)
