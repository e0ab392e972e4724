"""Index paging by RFC 7644 §3.4.2.4."""

from __future__ import annotations

import pytest

from app.errors import InvalidValue
from app.scim.page import Page, parse_page

PAGES: dict[str, tuple[str | None, str | None, Page]] = {
    "nothing asked": (None, None, Page(1, 200)),
    "as asked": ("101", "100", Page(101, 100)),
    "below one is one": ("0", "5", Page(1, 5)),
    "negative start": ("-7", "5", Page(1, 5)),
    "negative count is none": ("1", "-1", Page(1, 0)),
    "only the total": ("1", "0", Page(1, 0)),
    "more than a page": ("1", "5000", Page(1, 200)),
    "far past the end": ("9" * 90, "9" * 90, Page(2**53, 200)),
    "spaces around": (" 3 ", " 4", Page(3, 4)),
}


@pytest.mark.parametrize(("start", "count", "page"), PAGES.values(), ids=PAGES.keys())
def test_a_page_is_what_was_asked_for_within_bounds(
    start: str | None, count: str | None, page: Page
) -> None:
    assert parse_page(start, count, max_page=200) == page


@pytest.mark.parametrize("text", ["", "x", "1.5", "1_0", "٣", "1e3", "0x1", "--1", "9" * 101])
@pytest.mark.parametrize("name", ["startIndex", "count"])
def test_what_is_not_a_whole_number_is_refused_by_name(name: str, text: str) -> None:
    start, count = (text, None) if name == "startIndex" else (None, text)
    with pytest.raises(InvalidValue, match=f"^{name}: "):
        parse_page(start, count, max_page=200)
