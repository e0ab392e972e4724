"""`sortBy` and `sortOrder` (RFC 7644 §3.4.2.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from app.errors import InvalidValue
from app.scim.attribute import ResourceType
from app.scim.filter import comparable
from app.scim.paths import AttributePath, resolve, shown

T = TypeVar("T")


def parse_sort(resource_type: ResourceType, text: str) -> AttributePath | None:
    """Return the path to sort by; None where this type has no such attribute.

    A complex attribute is sorted by its `value`. Raises InvalidValue if it has none.
    """
    path = resolve(resource_type, text)
    if path is None or path.leaf.type != "complex":
        return path
    value = path.leaf.sub("value")
    if value is None or path.sub is not None:
        raise InvalidValue(f"sortBy: {shown(text)} has no value to sort by; name a sub-attribute")
    return replace(path, sub=value)


def sort_value(path: AttributePath | None, document: Mapping[str, Any]) -> Any:
    """Return what a document is sorted by, None where it has no value.

    Of several values the primary one counts, else the first. Text is folded unless the attribute is
    caseExact.
    """
    if path is None:
        return None
    container: Any = document if path.schema is None else document.get(path.schema.id, {})
    value = container.get(path.attribute.name)
    if isinstance(value, list):
        preferred = (v for v in value if isinstance(v, dict) and v.get("primary") is True)
        value = next(preferred, value[0] if value else None)
    if path.sub is not None:
        value = value.get(path.sub.name) if isinstance(value, dict) else None
    return None if value is None else comparable(path.leaf)(value)


def in_order(items: Iterable[tuple[Any, T]], *, descending: bool) -> list[T]:
    """Return items by their values; equal ones stay in the order given.

    Those without a value come last ascending and first descending.
    """
    listed = list(items)
    with_value = [(value, item) for value, item in listed if value is not None]
    without = [item for value, item in listed if value is None]
    with_value.sort(key=lambda pair: pair[0], reverse=descending)
    ordered = [item for _, item in with_value]
    return without + ordered if descending else ordered + without
