"""Names, texts and keywords are told apart as ClickHouse tells them apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.clickhouse.tokens import Kind, parse_tokens, render_name, render_text

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))

CASES = {
    "words are keywords": ("create User", [("word", "CREATE"), ("word", "USER")]),
    "names keep their case": ('`User` "x"', [("name", "User"), ("name", "x")]),
    "escapes": (r"'a\'b\\c\n\x41\0'", [("text", "a'b\\c\nA\0")]),
    "bytes of one letter": (r"'\xc3\xa9\x41'", [("text", "éA")]),
    "doubled quotes": ("'it''s' `a``b`", [("text", "it's"), ("name", "a`b")]),
    "unknown escapes stay": (r"'100\%'", [("text", "100\\%")]),
    "comments": ("a -- 'x\nb /* ` */ c # '\nd #! '\ne", [("word", x) for x in "ABCDE"]),
    "heredoc": ("$$it's$$ $a$ $$ $a$", [("text", "it's"), ("text", " $$ ")]),
    "numbers": ("1.5 0xFF 1e10", [("number", "1.5"), ("number", "0xFF"), ("number", "1e10")]),
    "signs": ("a@'%';", [("word", "A"), ("sign", "@"), ("text", "%"), ("sign", ";")]),
    "a quote that never ends is a sign": ("'abc", [("sign", "'"), ("word", "ABC")]),
}


@pytest.mark.parametrize(("sql", "tokens"), CASES.values(), ids=CASES.keys())
def test_parse_tokens(sql: str, tokens: list[tuple[str, str]]) -> None:
    assert [(token.kind.value, token.value) for token in parse_tokens(sql)] == tokens


@given(ANY_TEXT)
def test_a_rendered_name_is_read_back(name: str) -> None:
    (token,) = parse_tokens(render_name(name))
    assert (token.kind, token.value) == (Kind.NAME, name)


@given(ANY_TEXT)
def test_a_rendered_text_is_read_back(text: str) -> None:
    (token,) = parse_tokens(render_text(text))
    assert (token.kind, token.value) == (Kind.TEXT, text)


@given(st.text(alphabet="ab '`\"\\-/*#$\n;@,()1.é"))
def test_every_token_stands_where_it_says(sql: str) -> None:
    tokens = parse_tokens(sql)
    assert all(sql[token.start : token.end] == token.raw for token in tokens)
    assert all(a.end <= b.start for a, b in pairwise(tokens))
