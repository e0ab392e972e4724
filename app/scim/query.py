"""What a client asks of a list: by the parameters of a GET, or by a SearchRequest in a POST."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidCount, InvalidSyntax, InvalidValue
from app.scim.page import INTEGER, Page, parse_page


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """RFC 7644 §3.4.2 and RFC 9865; what was not asked for is None.

    `cursor`: None for a page by `start_index`, empty for the first page of those by cursor.
    """

    filter: str | None
    attributes: str | None
    excluded: str | None
    sort_by: str | None
    descending: bool
    page: Page
    cursor: str | None


def parse_query(asked: Mapping[str, str], *, default_page: int, max_page: int) -> Query:
    """Return what the parameters of a GET ask for. Raises InvalidValue, InvalidCount."""
    cursor = asked.get("cursor")
    count = asked.get("count", str(default_page))
    if cursor is None:
        page = parse_page(asked.get("startIndex"), count, max_page=max_page)
    elif "startIndex" in asked:
        raise InvalidValue("cursor: can't be combined with startIndex")
    elif not INTEGER.fullmatch(count.strip()):
        raise InvalidCount("count: must be a whole number")
    else:
        page = Page(1, min(max(int(count), 0), max_page))
    order = asked.get("sortOrder", "ascending").lower()
    if order not in {"ascending", "descending"}:
        raise InvalidValue("sortOrder: must be ascending or descending")
    return Query(
        filter=asked.get("filter"),
        attributes=asked.get("attributes"),
        excluded=asked.get("excludedAttributes"),
        sort_by=asked.get("sortBy") or None,
        descending=order == "descending",
        page=page,
        cursor=cursor,
    )


_TEXTS = {
    name.lower(): name
    for name in ("filter", "sortBy", "sortOrder", "cursor", "startIndex", "count")
}
_LISTS = {name.lower(): name for name in ("attributes", "excludedAttributes")}


def parse_search(body: object, *, default_page: int, max_page: int) -> Query:
    """Return what a SearchRequest (RFC 7644 §3.4.3) asks for; names in any case."""
    if not isinstance(body, dict):
        raise InvalidSyntax("the body must be a JSON object")
    asked: dict[str, str] = {}
    for key, value in body.items():
        name = key.lower()
        if value is None:
            continue
        if name in _TEXTS:
            asked[_TEXTS[name]] = _text(_TEXTS[name], value)
        elif name in _LISTS:
            asked[_LISTS[name]] = _list(_LISTS[name], value)
    return parse_query(asked, default_page=default_page, max_page=max_page)


def _text(name: str, value: Any) -> str:
    whole = name in {"startIndex", "count"} and isinstance(value, int) and value is not True
    if isinstance(value, str) or (whole and value is not False):
        return str(value)
    raise InvalidSyntax(f"{name}: has another type than RFC 7644 gives it")


def _list(name: str, value: Any) -> str:
    names = value if isinstance(value, list) else [value]
    if not all(isinstance(one, str) for one in names):
        raise InvalidSyntax(f"{name}: must be a list of names")
    return ",".join(names)
