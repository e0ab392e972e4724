from __future__ import annotations

import json
from typing import Any

import pytest

from app.cli.output import print_rows, printable

ROWS: list[dict[str, Any]] = [
    {"id": "1", "name": "ana", "extra": [1]},
    {"id": "2", "name": None, "extra": []},
]


def test_json_is_one_array_with_all_keys(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, ["id"], as_json=True, empty="nothing")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_json_of_nothing_is_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], ["id"], as_json=True, empty="nothing")
    assert capsys.readouterr().out == "[]\n"


def test_a_table_has_the_columns_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, ["name", "id"], as_json=False, empty="nothing")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["name", "id"] in lines
    assert ["ana", "1"] in lines
    assert ["2"] in lines


def test_no_rows_are_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], ["id"], as_json=False, empty="nothing parked")
    assert capsys.readouterr().out == "nothing parked\n"


def test_a_long_name_in_a_pipe_stays_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"id": "x" * 300}], ["id"], as_json=False, empty="")
    assert "x" * 300 in capsys.readouterr().out


def test_a_name_cannot_move_the_cursor_or_mark_text_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"id": "\x1b[2J[red]\n\u202e"}], ["id"], as_json=False, empty="")
    printed = capsys.readouterr().out
    assert r"\x1b[2J[red]\n\u202e" in printed
    assert "\x1b" not in printed


def test_values_are_shown_as_text() -> None:
    assert printable(("a", None, 1)) == "a, , 1"
