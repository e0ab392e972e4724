"""Index paging (RFC 7644 §3.4.2.4): `startIndex` and `count` as text become a page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import InvalidValue

INTEGER = re.compile(r"-?[0-9]{1,100}")
LARGEST = 2**53  # further than any list reaches, and exact in every client's JSON


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list: `count` resources at most, the first of them number `start_index` (≥ 1)."""

    start_index: int
    count: int


def parse_page(start_index: str | None, count: str | None, *, max_page: int) -> Page:
    """Return the page that was asked for, `max_page` resources at most.

    As §3.4.2.4 says, a `startIndex` below 1 is 1 and a negative `count` is 0: then only the total
    is wanted. InvalidValue names a parameter that is not a whole number.
    """
    start = _integer("startIndex", start_index, 1)
    size = _integer("count", count, max_page)
    return Page(min(max(start, 1), LARGEST), min(max(size, 0), max_page))


def _integer(name: str, text: str | None, default: int) -> int:
    if text is None:
        return default
    if not INTEGER.fullmatch(text.strip()):
        raise InvalidValue(f"{name}: must be a whole number")
    return int(text)
