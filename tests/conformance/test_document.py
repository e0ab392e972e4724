"""docs/conformance.md names a test, or a reason, for every demand, and those tests exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "conformance.md"
NODE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SECTION = re.compile(r"[\d.]+(?:, (?:[\d.]+|RFC \d+))*")
LEAST = 90  # demands; a table that lost half its rows is no table


def rows() -> Iterator[tuple[str, str, str]]:
    """Yield section, demand and proof of each row."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 3 and SECTION.fullmatch(cells[0]):
            yield cells[0], cells[1], cells[2]


@cache
def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


def test_the_table_is_there() -> None:
    assert len(list(rows())) >= LEAST


@pytest.mark.parametrize(
    ("path", "name"), sorted(set(NODE.findall(PAGE.read_text()))), ids=lambda text: text
)
def test_a_named_test_exists(path: str, name: str) -> None:
    assert name in functions_of(path)


def test_every_demand_has_a_test_or_a_reason() -> None:
    """A reason is a sentence, not a dash."""
    without = [row for row in rows() if not NODE.search(row[2]) and len(row[2]) < 40]
    assert without == []


def test_every_test_of_a_section_is_named() -> None:
    """The other way round: what is held against an RFC stands in the table of that RFC."""
    files = sorted((ROOT / "tests" / "conformance").glob("test_rfc*.py"))
    assert files
    named = set(NODE.findall(PAGE.read_text()))
    missing = [
        f"{path}::{name}"
        for path in (str(file.relative_to(ROOT)) for file in files)
        for name in sorted(functions_of(path))
        if name.startswith("test_") and (path, name) not in named
    ]
    assert missing == []
