"""Values become canonical: checked against their attributes, with canonical names.

Where a value stands is put together only when an error or a report needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.errors import InvalidSyntax, InvalidValue, TooMany
from app.scim.attribute import Attribute, Names, Part, Shape
from app.scim.limits import Limits
from app.scim.paths import shown
from app.scim.quirks import Quirk

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # exactly Unicode's category Cc
BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]*")  # RFC 4648 §4 and §5, with or without padding
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)?")
INDEX = re.compile(r"\[\d+\]")

EXPECTED = {
    "string": "a string",
    "boolean": "true or false",
    "decimal": "a number",
    "integer": "a whole number",
    "dateTime": "a date and time such as 2026-01-31T09:30:00Z",
    "binary": "a string of base64",
    "reference": "a string that holds a URI",
    "complex": "an object",
}

_TEXT = {str}

Where = str | tuple["Where", str | int]
"""The place of a value: as text, or a name or an index below another place."""


def told(where: Where) -> str:
    """Return a place as errors name it: `emails[0].value`, `urn:…:User:department`."""
    if isinstance(where, str):
        return where
    outer, step = where
    return f"{told(outer)}[{step}]" if isinstance(step, int) else join(told(outer), step)


def join(where: str, name: str) -> str:
    """Return the path of `name` inside `where`, which may be empty or a URN with its colon."""
    return f"{where}.{name}" if where and not where.endswith(":") else where + name


class Reading:
    """What the reading of one body carries along: its limits, and what is to be told of it."""

    __slots__ = ("ignored", "limits", "quirks", "secrets")

    def __init__(self, limits: Limits, quirks: set[Quirk] | None = None) -> None:
        self.limits = limits
        self.ignored: dict[str, None] = {}
        self.secrets: list[str] = []
        self.quirks: set[Quirk] = set() if quirks is None else quirks

    def ignore(self, where: Where, name: str) -> None:
        self.quirks.add(Quirk.UNKNOWN_ATTRIBUTE)
        self.ignored[shown(INDEX.sub("", told((where, name))))] = None


def checked_object(body: object, limits: Limits, *, deep: bool = True) -> dict[str, Any]:
    """Return the body if it is a JSON object; with `deep`, one that is not nested too deeply.

    The decoder has seen to it that strings can be sent on as UTF-8, and that numbers are finite.
    """
    if not isinstance(body, dict):
        raise InvalidSyntax("the body must be a JSON object")
    if deep and is_deeper(body, limits.max_document_depth):
        where: Where = ""
        for step in _way_down(body, limits.max_document_depth):
            where = (where, step)
        raise InvalidValue(f"{shown(told(where)) or 'the body'}: is nested too deeply")
    return body


def read_object(
    names: Names, value: dict[str, Any], where: Where, reading: Reading
) -> dict[str, Any]:
    """Return what the schema knows of an object, in its order."""
    shape = names.shape(tuple(value))
    if shape.twice is not None:
        raise given_twice(where, shape.twice)
    document = read_known(shape, value, where, reading)
    for name in shape.unknown:
        if value[name] is not None:
            reading.ignore(where, name)
    return document


def given_twice(where: Where, name: str) -> InvalidValue:
    return InvalidValue(f"{shown(told((where, name)))}: is given twice, in different case")


def read_known(
    shape: Shape, value: dict[str, Any], where: Where, reading: Reading
) -> dict[str, Any]:
    """Return the attributes of an object of this shape; texts, which most are, all at once."""
    values: list[Any] = [*map(value.__getitem__, shape.sent)]
    texts = [values[n] for n in shape.plain]
    numbers: Iterable[int] = shape.special
    if texts and not _are_texts(texts, reading.limits):
        numbers = range(len(values))
    for n in numbers:
        item = values[n]
        if not shape.direct[n]:
            values[n] = _read_part(shape.parts[n], value, where, reading)
        elif item is not None:
            values[n] = _read(shape.parts[n].attribute, item, where, reading)
    document = dict(zip(shape.names, values, strict=True))
    if None in values:
        return {name: read for name, read in document.items() if read is not None}
    return document


def _are_texts(values: Sequence[Any], limits: Limits) -> bool:
    """Whether there are values, all of them texts, and none of them too long."""
    return {*map(type, values)} == _TEXT and max(map(len, values)) <= limits.max_attribute_length


def _read_part(part: Part, value: dict[str, Any], where: Where, reading: Reading) -> Any:
    """Return the canonical form of what was sent, None for nothing that belongs in a document."""
    attribute, item = part.attribute, _first(part, value, reading)
    if item is None or attribute.mutability == "readOnly":
        return None
    if attribute.separate:
        if not isinstance(item, list):
            reading.quirks.add(Quirk.VALUE_WITHOUT_LIST)
        return None
    read = _read(attribute, item, where, reading)
    if read is not None and attribute.mutability == "writeOnly":
        reading.secrets.append(read)
        return None
    return read


def _read(attribute: Attribute, item: object, where: Where, reading: Reading) -> Any:
    """Return the canonical form of what an object has of an attribute, None for nothing."""
    if attribute.multi_valued and not isinstance(item, list):
        reading.quirks.add(Quirk.VALUE_WITHOUT_LIST)
    return read_attribute(attribute, item, (where, attribute.name), reading)


def _first(part: Part, value: dict[str, Any], reading: Reading) -> Any:
    """Return what was sent under the first of the attribute's names that has a value."""
    if part.by_alias:
        reading.quirks.add(Quirk.OTHER_NAME)
    found = value[part.name]
    for other in part.others:
        if found is None:
            found = value[other]
            reading.quirks.add(Quirk.OTHER_NAME)
    return found


def read_attribute(attribute: Attribute, value: object, where: Where, reading: Reading) -> Any:
    """Return the canonical form of an attribute's value, None for one without a value.

    `where` is the path that an error names: `InvalidValue("emails[0].value: must be a string")`.
    """
    if value is None or value == []:
        return None
    if attribute.multi_valued:
        return _read_values(attribute, value, where, reading)
    return _READERS[attribute.type](attribute, value, where, reading)


def read_one(attribute: Attribute, value: object, where: Where, reading: Reading) -> Any:
    """Return the canonical form of one value, of a multi-valued attribute too."""
    return _READERS[attribute.type](attribute, value, where, reading)


def refuse_two_primaries(values: Iterable[Any], where: Where) -> None:
    """At most one value of an attribute is the preferred one (RFC 7643 §2.4)."""
    if has_two_primaries(values):
        raise InvalidValue(f"{told(where)}: more than one value is primary")


def has_two_primaries(values: Iterable[Any]) -> bool:
    return sum(isinstance(v, dict) and v.get("primary") is True for v in values) > 1


def unique(values: list[Any]) -> list[Any]:
    """Return the values without those that are the same as an earlier one."""
    if len(values) < 2:
        return values
    seen: dict[object, Any] = {}
    for value in values:
        seen.setdefault(_hashable(value), value)
    return list(seen.values())


def _hashable(value: object) -> object:
    if isinstance(value, dict):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def wrong_type(attribute: Attribute, where: Where) -> InvalidValue:
    return InvalidValue(f"{told(where)}: must be {EXPECTED[attribute.type]}")


def _read_complex(attribute: Attribute, value: object, where: Where, reading: Reading) -> Any:
    """Return the object, or for a bare value the object that has it as its `value`.

    Clients send `manager` and members of `roles` as bare strings; an empty one is no value.
    """
    if isinstance(value, dict):
        return read_object(attribute.subs, value, where, reading) or None
    main = attribute.sub("value")
    if main is None or isinstance(value, list):
        raise wrong_type(attribute, where)
    if value == "":
        return None
    reading.quirks.add(Quirk.BARE_VALUE)
    read = read_one(main, value, where, reading)
    return None if main.mutability == "readOnly" else {main.name: read}


def _read_values(
    attribute: Attribute, value: object, where: Where, reading: Reading
) -> list[Any] | None:
    items: list[Any] = value if isinstance(value, list) else [value]
    if len(items) > reading.limits.max_values:
        raise TooMany(f"{told(where)}: more than {reading.limits.max_values} values")
    if attribute.texts and _are_texts(items, reading.limits):
        return [*dict.fromkeys(items)]
    values: list[Any] = []
    for index, item in enumerate(items):
        if item is None:
            continue
        read = read_one(attribute, item, (where, index), reading)
        if read is not None:
            values.append(read)
    if len(values) > 1:
        values = unique(values)
        if attribute.type == "complex":
            refuse_two_primaries(values, where)
    return values or None


def _read_boolean(_: Attribute, value: object, where: Where, reading: Reading) -> bool:
    if value is True or value is False:
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        reading.quirks.add(Quirk.BOOLEAN_AS_TEXT)
        return value.lower() == "true"
    raise InvalidValue(f"{told(where)}: must be true or false")


def _read_number(attribute: Attribute, value: object, where: Where, _: Reading) -> int | float:
    kind = int if attribute.type == "integer" else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        raise wrong_type(attribute, where)
    return value


def _read_text(attribute: Attribute, value: object, where: Where, reading: Reading) -> str:
    limits = reading.limits
    if not isinstance(value, str):
        raise wrong_type(attribute, where)
    if attribute.indexed:
        check_name(value, where, limits)
    elif len(value) > limits.max_attribute_length:
        raise InvalidValue(f"{told(where)}: longer than {limits.max_attribute_length} characters")
    if attribute.type == "binary" and not BASE64.fullmatch(value):
        raise wrong_type(attribute, where)
    if attribute.type == "dateTime" and not _is_date_time(value):
        raise wrong_type(attribute, where)
    return value


_READERS: Mapping[str, Callable[[Attribute, object, Where, Reading], Any]] = {
    "complex": _read_complex,
    "boolean": _read_boolean,
    "integer": _read_number,
    "decimal": _read_number,
    **dict.fromkeys(("string", "reference", "binary", "dateTime"), _read_text),
}


def check_name(value: str, where: Where, limits: Limits) -> None:
    """A name is kept exactly as it was sent, so one that would mislead people is refused."""
    if not value.strip():
        raise InvalidValue(f"{told(where)}: must not be empty")
    if len(value) > limits.max_name_length:
        raise InvalidValue(f"{told(where)}: longer than {limits.max_name_length} characters")
    if not value.isprintable() and CONTROL.search(value):
        raise InvalidValue(f"{told(where)}: must not hold control characters")


def _is_date_time(value: str) -> bool:
    if not DATE_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_deeper(body: dict[str, Any], depth: int) -> bool:
    """Whether something in the body lies below so many objects and arrays."""
    level: list[Any] = [body]
    for _ in range(depth):
        level = [
            item
            for value in level
            for item in (value.values() if type(value) is dict else value)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _way_down(body: Any, depth: int) -> list[str | int]:
    """Return the steps to the first thing that `is_deeper`."""
    stack: list[tuple[Any, list[str | int]]] = [(body, [])]
    while stack:
        value, steps = stack.pop()
        if len(steps) == depth:
            return steps
        items = value.items() if isinstance(value, dict) else enumerate(value)
        below = [(item, [*steps, n]) for n, item in items if isinstance(item, (dict, list))]
        stack += reversed(below)
    return []
