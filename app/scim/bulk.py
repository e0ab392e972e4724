"""Bulk requests (RFC 7644 §3.7) as values: what they hold, and in which order it can be done.

`bulkId:NAME` stands for the id that another operation of the request makes: as a whole string
anywhere in `data`, in quotes in a filter or a path of it, and in the path of an operation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from app.errors import BodyTooLarge, InvalidSyntax, InvalidValue, MethodNotAllowed, ScimError

METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MARK: Final = "bulkId:"
_INSIDE = re.compile(rf'(?<=["/]){_MARK}([^"/]+)(?=["/]|$)')
_PATH = re.compile(r"/?([A-Za-z]+)(?:/([^/]+))?/?")
_DROPPED: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOperation:
    """`endpoint` and `id`: the path's parts, without slashes. `problem`: why it can't be done."""

    method: str
    path: str
    endpoint: str = ""
    id: str | None = None
    bulk_id: str | None = None
    version: str | None = None
    data: Any = None
    problem: ScimError | None = None


@dataclass(frozen=True, slots=True)
class BulkRequest:
    """`fail_on_errors`: after so many errors nothing more is done, None for no such bound."""

    operations: tuple[BulkOperation, ...]
    fail_on_errors: int | None


def parse_bulk(body: object, *, max_operations: int) -> BulkRequest:
    """Return the request. What is wrong with one operation is its `problem`.

    Raises InvalidSyntax for what concerns all of them, BodyTooLarge for too many (§3.7.4).
    """
    if not isinstance(body, dict):
        raise InvalidSyntax("the body must be a JSON object")
    listed = _member(body, "operations")
    if not isinstance(listed, list):
        raise InvalidSyntax("Operations: must be a list")
    if len(listed) > max_operations:
        raise BodyTooLarge(f"Operations: more than maxOperations ({max_operations}) in one request")
    bound = _member(body, "failonerrors")
    if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 0):
        raise InvalidSyntax("failOnErrors: must be a whole number")
    operations = tuple(_operation(item, f"Operations[{n}]") for n, item in enumerate(listed))
    seen: set[str] = set()
    for operation in operations:
        if operation.bulk_id is not None and operation.method == "POST":
            if operation.bulk_id in seen:
                raise InvalidSyntax("bulkId: two operations have the same one")
            seen.add(operation.bulk_id)
    return BulkRequest(operations, bound or None)


def order(operations: Sequence[BulkOperation]) -> list[int]:
    """Return the numbers of the operations in the order in which they are to be done.

    That of the client, but for what refers to a resource that a later one creates: it follows it.
    In a circle of references one of them has to be done before what it refers to.
    """
    makers = creators(operations)
    placed: dict[int, None] = {}
    begun: set[int] = set()
    for first in range(len(operations)):
        stack = [(first, iter(sorted(_needs(operations[first], makers))))]
        begun.add(first)
        while stack:
            number, needs = stack[-1]
            need = next((n for n in needs if n not in begun), None)
            if need is None:
                placed.setdefault(number)
                stack.pop()
            else:
                begun.add(need)
                stack.append((need, iter(sorted(_needs(operations[need], makers)))))
    return list(placed)


def creators(operations: Sequence[BulkOperation]) -> dict[str, int]:
    """Return the number of the operation that each bulkId names."""
    return {o.bulk_id: n for n, o in enumerate(operations) if o.bulk_id and o.method == "POST"}


def references(operation: BulkOperation) -> frozenset[str]:
    """Return the bulkIds that the operation's data and path refer to."""
    return frozenset(_named(operation.data)) | frozenset(_named(operation.id))


def resolved(value: Any, ids: Mapping[str, str]) -> Any:
    """Return `value` with the ids in the place of references to them."""
    if isinstance(value, dict):
        return {name: resolved(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [resolved(item, ids) for item in value]
    if not isinstance(value, str) or _MARK not in value:
        return value
    if value.startswith(_MARK):
        return ids.get(value.removeprefix(_MARK), value)
    return _INSIDE.sub(lambda found: ids.get(found[1], found[0]), value)


def without(data: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """Return a resource without the values that refer to any of these bulkIds."""
    return {
        name: kept for name, item in data.items() if (kept := _without(item, names)) is not _DROPPED
    }


def _without(value: Any, names: frozenset[str]) -> Any:
    if isinstance(value, list):
        kept = [_without(item, names) for item in value]
        return [item for item in kept if item is not _DROPPED]
    if isinstance(value, dict):
        own = (item for item in value.values() if isinstance(item, str))
        if any(not names.isdisjoint(_named(item)) for item in own):
            return _DROPPED
        return without(value, names)
    return _DROPPED if not names.isdisjoint(_named(value)) else value


def _needs(operation: BulkOperation, makers: Mapping[str, int]) -> set[int]:
    return {makers[name] for name in references(operation) if name in makers}


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, str) and _MARK in value:
        if value.startswith(_MARK):
            yield value.removeprefix(_MARK)
        else:
            yield from _INSIDE.findall(value)


def _operation(item: object, where: str) -> BulkOperation:
    if not isinstance(item, dict):
        raise InvalidSyntax(f"{where}: must be an object")
    texts = {name: _member(item, name.lower()) for name in ("method", "path", "bulkId", "version")}
    for name, text in texts.items():
        if text is not None and not isinstance(text, str):
            raise InvalidSyntax(f"{where}.{name}: must be a string")
    method, path = (texts["method"] or "").upper(), texts["path"] or ""
    found = _PATH.fullmatch(path)
    data = _member(item, "data")
    return BulkOperation(
        method=method,
        path=path,
        endpoint=found[1] if found else "",
        id=unquote(found[2]) if found and found[2] else None,
        bulk_id=texts["bulkId"],
        version=texts["version"],
        data=data,
        problem=_problem(method, found, texts["bulkId"], data),
    )


def _problem(
    method: str, path: re.Match[str] | None, bulk_id: str | None, data: object
) -> ScimError | None:
    if method not in METHODS:
        return MethodNotAllowed("method: must be POST, PUT, PATCH or DELETE")
    if path is None:
        return InvalidValue("path: must be that of an endpoint, or of a resource below it")
    if (path[2] is None) != (method == "POST"):
        return InvalidValue("path: POST takes an endpoint, every other method a resource")
    if method == "POST" and not bulk_id:
        return InvalidSyntax("bulkId: is required for POST")
    if method != "DELETE" and not isinstance(data, dict):
        return InvalidSyntax(f"data: is required for {method}, as an object")
    return None


def _member(item: dict[str, Any], key: str) -> Any:
    """Return the member of that name, in any case."""
    return next((value for name, value in item.items() if name.lower() == key), None)
