"""Patterns of group names: what fits, and what the wildcards stand for."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.pattern import check_pattern, fill, parts_of, wrong_places

FITS: dict[str, tuple[str, str, tuple[str, ...] | None]] = {
    "a part": ("ch-prod-sales", "ch-prod-*", ("sales",)),
    "in any case, as it is written": ("CH-Prod-Sales", "ch-prod-*", ("Sales",)),
    "nothing": ("ch-prod-", "ch-prod-*", ("",)),
    "two parts": ("ch-eu-sales", "ch-*-*", ("eu", "sales")),
    "the first takes the least": ("ch-eu-de-sales", "ch-*-*", ("eu", "de-sales")),
    "one character": ("team7", "team?", ("7",)),
    "too short": ("team", "team?", None),
    "another end": ("ch-prod-sales", "ch-*-ops", None),
    "another beginning": ("x-ch-prod-sales", "ch-prod-*", None),
    "what a regular expression would take": ("chXprod-a", "ch.prod-*", None),
    "several lines": ("ch-a\nb", "ch-*", ("a\nb",)),
}


@pytest.mark.parametrize(("name", "pattern", "parts"), FITS.values(), ids=FITS.keys())
def test_a_pattern_fits(name: str, pattern: str, parts: tuple[str, ...] | None) -> None:
    assert parts_of(name, pattern) == parts


@given(st.text("ab", max_size=12), st.text("ab*?", max_size=8))
def test_a_pattern_means_what_the_regular_expression_means(name: str, pattern: str) -> None:
    expression = "".join({"*": "(.*?)", "?": "(.)"}.get(char, char) for char in pattern)
    found = re.fullmatch(expression, name)
    assert parts_of(name, pattern) == (found and found.groups())


def test_a_name_that_is_made_to_be_slow_is_not() -> None:
    assert parts_of("a" * 4000 + "c", "*a*a*a*a*a*a*a*a*b") is None


def test_places_are_filled_by_their_number() -> None:
    assert fill("{2}_{1}_{2}", ("eu", "sales")) == "sales_eu_sales"


WRONG = {
    "no such wildcard": ("{2}_reader", "ch-*"),
    "counted from nought": ("{0}_reader", "ch-*"),
    "a word": ("{name}_reader", "ch-*"),
    "no pattern": ("{1}_reader", ""),
    "a lone brace": ("{reader", "ch-*"),
}


@pytest.mark.parametrize(("role", "pattern"), WRONG.values(), ids=WRONG.keys())
def test_a_place_that_nothing_fills_is_a_mistake(role: str, pattern: str) -> None:
    assert wrong_places(role, pattern)


def test_a_pattern_has_a_wildcard() -> None:
    with pytest.raises(ValueError, match="write group instead"):
        check_pattern("ch-prod")
