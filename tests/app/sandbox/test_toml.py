from __future__ import annotations

import tomllib
from datetime import UTC
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.toml import render_toml

# TOML's text has no lone surrogates, and a newline in a file may be read as another.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.datetimes(timezones=st.just(UTC) | st.none()) | st.dates() | st.times()
SCALARS = (
    TEXT | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.floats(allow_nan=False) | TIMES
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_is_rendered_reads_back_as_it_was(tables: dict[str, Any]) -> None:
    assert tomllib.loads(render_toml(tables)) == tables


def test_the_demo_role_map_survives() -> None:
    text = (resources.files("app.sandbox") / "demo.toml").read_text("utf-8")
    assert tomllib.loads(render_toml(tomllib.loads(text))) == tomllib.loads(text)


def test_what_toml_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="NoneType"):
        render_toml({"a": None})
