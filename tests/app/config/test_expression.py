from __future__ import annotations

import pytest

from app.config.expression import ExpressionError, check_expression

GOOD = {
    "comparison": "tenant = 'acme'",
    "call": "has(splitByChar(',', currentUser()), tenant) OR (a IN ('x', 'y'))",
    "quotes in quotes": r"a = 'it''s; \' -- # /*' AND `b;` = \"c;\"".replace('\\"', '"'),
    "typographic quotes in quotes": "a = '\u2019'",
    "brackets": "a[1] = map('k', [1, 2])['k']",
    "several lines": "a = 1\n\tOR b = 2",
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_one_expression_is_kept_as_it_is(text: str) -> None:
    assert check_expression(f" {text}\n") == text


BAD = {
    "empty": (" ", "is empty"),
    "second statement": ("1; DROP TABLE x", "ends the statement"),
    "closes too much": ("1) TO ALL (", "without opening"),
    "mixes": ("(1]", "without opening"),
    "open parenthesis": ("(1", "does not close it"),
    "open string": ("a = 'x", "does not close it"),
    "string ends in a backslash": (r"a = 'x\'", "does not close it"),
    "line comment": ("1 -- x", "begins a comment"),
    "hash comment": ("1 # x", "begins a comment"),
    "block comment": ("1 /* x", "begins a comment"),
    "dollar string": ("$$x$$", "begins a string"),
    "typographic quote": ("a = \u2018x;\u2019", "typographic quote"),
    "vertical output": (r"1\G", "only for strings"),
    "nul": ("1\0", "unprintable"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_what_could_leave_its_parentheses_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        check_expression(text)
