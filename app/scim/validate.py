"""Bodies become documents: checked against the schemas, with canonical names, nothing else kept.

A document is what the directory stores of a resource: its writable attributes under their schema's
spelling and in their schema's order, extensions under their URNs, `schemas` as the URNs that are
really there. Equal states are equal as JSON text, and a document read again is itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from app.errors import InvalidSyntax, InvalidValue, Mutability, TooMany
from app.scim.attribute import SCHEMAS, Attribute, ResourceType, Schema
from app.scim.limits import DEFAULT_LIMITS, Limits
from app.scim.members import MemberChange
from app.scim.paths import shown
from app.scim.quirks import Quirk
from app.scim.schema import GROUP

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


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body, read: the document, and the names in it that no schema knows, as they were sent.

    `secret`: the password in the clear, to be hashed at once; None where the body has none.
    `quirks`: where the body was not what the RFC says.
    """

    document: dict[str, Any]
    ignored: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)
    quirks: frozenset[Quirk] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """What the reading of one body carries along: its limits, and what is to be told of it."""

    limits: Limits
    ignored: dict[str, None] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list, repr=False)
    quirks: set[Quirk] = field(default_factory=set)

    def ignore(self, where: str, name: str) -> None:
        self.quirks.add(Quirk.UNKNOWN_ATTRIBUTE)
        self.ignored[shown(INDEX.sub("", join(where, name)))] = None


def parse_resource(
    resource_type: ResourceType, body: object, *, limits: Limits = DEFAULT_LIMITS
) -> Parsed:
    """Return the document that a POST or PUT body describes, or raise InvalidValue with the path.

    Dropped without a word, as the RFC allows: null and empty arrays (RFC 7643 §2.5), read-only
    attributes (RFC 7644 §3.3), and what is kept apart from documents; the password comes in
    `secret`. Attributes that no schema knows are left out and named in `ignored`. Taken since
    clients send it: names in any case, booleans as strings (Entra ID), one value where a list is
    expected, `schemas` that are old, foreign or missing: the URL has named the type.
    """
    reading = Reading(limits)
    document = _read_resource(resource_type, checked_object(body, limits), reading)
    secret = next(iter(reading.secrets), None)
    return Parsed(document, tuple(reading.ignored), secret, frozenset(reading.quirks))


def parse_group(
    body: object, *, limits: Limits = DEFAULT_LIMITS, resource_type: ResourceType = GROUP
) -> tuple[Parsed, MemberChange | None]:
    """Return a group's document and, apart from it, its members, replaced by those in the body.

    None where the body has no `members`; null and an empty list are no members. Whether a PUT
    without them empties the group is the caller's decision.
    """
    parsed = parse_resource(resource_type, body, limits=limits)
    for name, value in checked_object(body, limits, deep=False).items():
        attribute = resource_type.attribute(name)
        if attribute is not None and attribute.separate:
            return parsed, MemberChange(read_member_ids(attribute, value, attribute.name, limits))
    return parsed, None


def read_member_ids(
    attribute: Attribute, value: object, where: str, limits: Limits
) -> tuple[str, ...]:
    """Return the ids of the members in a list, an object or a bare id; unique, in their order.

    All else that clients send with a member (`display`, `type`, `$ref`) is the server's to say.
    """
    items = value if isinstance(value, list) else [] if value is None else [value]
    if len(items) > limits.max_members:
        raise TooMany(f"{where}: more than {limits.max_members} members in one request")
    ids: dict[str, None] = {}
    for index, item in enumerate(items):
        member = item if isinstance(item, str) else _member_id(attribute, item)
        if (
            not isinstance(member, str)
            or not member.strip()
            or len(member) > limits.max_name_length
            or CONTROL.search(member)
        ):
            if item is None:
                continue
            at = f"{where}[{index}]" if isinstance(value, list) else where
            raise InvalidValue(
                f"{at}.value: must be the id of a member, at most {limits.max_name_length} "
                "characters and none of them a control character"
            )
        ids[member] = None
    return tuple(ids)


def read_attribute(attribute: Attribute, value: object, where: str, reading: Reading) -> Any:
    """Return the canonical form of an attribute's value, None for one without a value.

    `where` is the path that an error names: `InvalidValue("emails[0].value: must be a string")`.
    """
    if value is None:
        return None
    if attribute.multi_valued:
        return _read_values(attribute, value, where, reading)
    if isinstance(value, list) and not value:
        return None
    return read_one(attribute, value, where, reading)


def read_one(attribute: Attribute, value: object, where: str, reading: Reading) -> Any:
    """Return the canonical form of one value, of a multi-valued attribute too."""
    match attribute.type:
        case "complex":
            return _read_complex(attribute, value, where, reading)
        case "boolean":
            return _read_boolean(value, where, reading)
        case "integer" | "decimal":
            return _read_number(attribute, value, where)
        case _:
            return _read_text(attribute, value, where, reading.limits)


def checked_object(body: object, limits: Limits, *, deep: bool = True) -> dict[str, Any]:
    """Return the body if it is a JSON object that is safe to read and to store.

    With `deep`: no lone surrogate in any string or name (it could not be sent on as UTF-8), no
    NaN or infinity, and not nested too deeply; whether a schema knows the place or not.
    """
    if not isinstance(body, dict):
        raise InvalidSyntax("the body must be a JSON object")
    if deep and not _is_sound(body, limits.max_document_depth):
        names, reason = _offence(body, limits.max_document_depth) or ((), "can't be stored")
        where = ""
        for name in names:
            where = where + name if name.startswith("[") else join(where, name)
        raise InvalidValue(f"{_printable(where) or 'the body'}: {reason}")
    return body


def require(resource_type: ResourceType, document: dict[str, Any]) -> None:
    """Raise InvalidValue if a required attribute has no value.

    Those of an extension are required where the resource has the extension at all.
    """
    _require(resource_type.schema.attributes, document, "")
    for schema in resource_type.extensions:
        if (held := document.get(schema.id)) is not None:
            _require(schema.attributes, held, f"{schema.id}:")


def _require(attributes: tuple[Attribute, ...], held: dict[str, Any], where: str) -> None:
    for attribute in attributes:
        if attribute.required and attribute.name not in held:
            raise InvalidValue(f"{join(where, attribute.name)}: is required")


def refuse_immutable_changes(
    resource_type: ResourceType, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Raise Mutability if an immutable attribute that had a value has another or none.

    RFC 7644 §3.5.1 for PUT, §3.5.2 for PATCH.
    """
    _refuse_changes(resource_type.core, before, after, "")
    for schema in resource_type.extensions:
        held, holds = before.get(schema.id, {}), after.get(schema.id, {})
        _refuse_changes(schema.attributes, held, holds, f"{schema.id}:")


def _refuse_changes(
    attributes: tuple[Attribute, ...], before: dict[str, Any], after: dict[str, Any], where: str
) -> None:
    for attribute in attributes:
        if attribute.mutability == "immutable":
            old = before.get(attribute.name)
            if old is not None and old != after.get(attribute.name):
                raise Mutability(f"{join(where, attribute.name)}: can't be changed once it is set")


def schemas_of(resource_type: ResourceType, document: dict[str, Any]) -> list[str]:
    """Return the URNs of the schemas that a document really has attributes of."""
    present = (schema.id for schema in resource_type.extensions if schema.id in document)
    return [resource_type.schema.id, *present]


def refuse_two_primaries(values: Iterable[Any], where: str) -> None:
    """At most one value of an attribute is the preferred one (RFC 7643 §2.4)."""
    if sum(isinstance(v, dict) and v.get("primary") is True for v in values) > 1:
        raise InvalidValue(f"{where}: more than one value is primary")


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


def join(where: str, name: str) -> str:
    """Return the path of `name` inside `where`, which may be empty or a URN with its colon."""
    return f"{where}.{name}" if where and not where.endswith(":") else where + name


# --- reading by schema ------------------------------------------------------------------------


def _read_resource(
    resource_type: ResourceType, body: dict[str, Any], reading: Reading
) -> dict[str, Any]:
    named = _by_key(body, "")
    reading.quirks.update(_schema_quirks(resource_type, named))
    document: dict[str, Any] = {SCHEMAS.name: []}
    _read_attributes(resource_type.core, named, "", reading, document)
    for schema in resource_type.extensions:
        if extension := _read_extension(schema, named, reading):
            document[schema.id] = extension
    for name, value in named.values():
        if value is not None:
            reading.ignore("", name)
    require(resource_type, document)
    document[SCHEMAS.name] = schemas_of(resource_type, document)
    return document


def _schema_quirks(
    resource_type: ResourceType, named: dict[str, tuple[str, Any]]
) -> Iterator[Quirk]:
    """Yield what `schemas` has that is not the URN of a schema of today; the URL names the type."""
    _, listed = named.get(SCHEMAS.key, ("", None))
    if not listed:
        yield Quirk.SCHEMAS_MISSING
    for urn in listed if isinstance(listed, list) else [listed]:
        if not isinstance(urn, str):
            continue
        schema = resource_type.known_schema(urn)
        if schema is None:
            yield Quirk.FOREIGN_SCHEMA
        elif urn.lower() != schema.keys[0]:
            yield Quirk.OLD_SCHEMA


def _read_extension(
    schema: Schema, named: dict[str, tuple[str, Any]], reading: Reading
) -> dict[str, Any]:
    """Return an extension's attributes, which old URNs may hold as well; the right one wins."""
    extension: dict[str, Any] = {}
    for key in reversed(schema.keys):
        name, value = named.pop(key, ("", None))
        if value is None or value == []:
            continue
        if not isinstance(value, dict):
            raise InvalidValue(f"{shown(name)}: must be an object")
        if key != schema.keys[0]:
            reading.quirks.add(Quirk.OLD_SCHEMA)
        prefix = f"{schema.id}:"
        extension |= _read_members_of(schema.attributes, value, prefix, reading)
    return extension


def _read_complex(attribute: Attribute, value: object, where: str, reading: Reading) -> Any:
    """Return the object, or for a bare value the object that has it as its `value`.

    Clients send `manager` and members of `roles` as bare strings; an empty one is no value.
    """
    if isinstance(value, dict):
        return _read_members_of(attribute.sub_attributes, value, where, reading) or None
    main = attribute.sub("value")
    if main is None or isinstance(value, list):
        raise wrong_type(attribute, where)
    if value == "":
        return None
    reading.quirks.add(Quirk.BARE_VALUE)
    read = read_one(main, value, where, reading)
    return None if main.mutability == "readOnly" else {main.name: read}


def _read_members_of(
    attributes: tuple[Attribute, ...], value: dict[str, Any], where: str, reading: Reading
) -> dict[str, Any]:
    """Read the attributes of an extension or the sub-attributes of a complex value."""
    named = _by_key(value, where)
    document: dict[str, Any] = {}
    _read_attributes(attributes, named, where, reading, document)
    for name, item in named.values():
        if item is not None:
            reading.ignore(where, name)
    return document


def _by_key(value: dict[str, Any], where: str) -> dict[str, tuple[str, Any]]:
    """Return the members of an object by their names in lower case (RFC 7643 §2.1)."""
    named: dict[str, tuple[str, Any]] = {}
    for name, item in value.items():
        key = name.lower()
        if key in named:
            raise InvalidValue(f"{shown(join(where, name))}: is given twice, in different case")
        named[key] = name, item
    return named


def _read_attributes(
    attributes: tuple[Attribute, ...],
    named: dict[str, tuple[str, Any]],
    where: str,
    reading: Reading,
    document: dict[str, Any],
) -> None:
    """Move what the schema knows out of `named` and, read, into `document`; in schema order."""
    longest = reading.limits.max_attribute_length
    for attribute in attributes:
        key, aliases = attribute.key, attribute.alias_keys
        if key not in named and not aliases:
            continue
        found = named.pop(key, None)
        if found and not aliases and attribute.plain:  # most of what people have
            value = found[1]
            if isinstance(value, str) and len(value) <= longest:
                document[attribute.name] = value
                continue
        for alias in aliases:
            other = named.pop(alias, None)
            if found is None or found[1] is None:
                found = other
                if other is not None:
                    reading.quirks.add(Quirk.OTHER_NAME)
        if found is None or found[1] is None or attribute.mutability == "readOnly":
            continue
        if attribute.multi_valued and not isinstance(found[1], list):
            reading.quirks.add(Quirk.VALUE_WITHOUT_LIST)
        if attribute.separate:
            continue
        read = read_attribute(attribute, found[1], join(where, attribute.name), reading)
        if read is None:
            continue
        if attribute.mutability == "writeOnly":
            reading.secrets.append(read)
        else:
            document[attribute.name] = read


def _read_values(
    attribute: Attribute, value: object, where: str, reading: Reading
) -> list[Any] | None:
    items = value if isinstance(value, list) else [value]
    if len(items) > reading.limits.max_values:
        raise TooMany(f"{where}: more than {reading.limits.max_values} values")
    values: list[Any] = []
    for index, item in enumerate(items):
        if item is None:
            continue
        read = read_one(attribute, item, f"{where}[{index}]", reading)
        if read is not None:
            values.append(read)
    if len(values) > 1:
        values = unique(values)
        refuse_two_primaries(values, where)
    return values or None


def _read_boolean(value: object, where: str, reading: Reading) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        reading.quirks.add(Quirk.BOOLEAN_AS_TEXT)
        return value.lower() == "true"
    raise InvalidValue(f"{where}: must be true or false")


def _read_number(attribute: Attribute, value: object, where: str) -> int | float:
    kind = int if attribute.type == "integer" else int | float
    if isinstance(value, bool) or not isinstance(value, kind):
        raise wrong_type(attribute, where)
    return value


def _read_text(attribute: Attribute, value: object, where: str, limits: Limits) -> str:
    if not isinstance(value, str):
        raise wrong_type(attribute, where)
    if attribute.indexed:
        _check_name(value, where, limits)
    elif len(value) > limits.max_attribute_length:
        raise InvalidValue(f"{where}: longer than {limits.max_attribute_length} characters")
    if attribute.type == "binary" and not BASE64.fullmatch(value):
        raise wrong_type(attribute, where)
    if attribute.type == "dateTime" and not _is_date_time(value):
        raise wrong_type(attribute, where)
    return value


def _check_name(value: str, where: str, limits: Limits) -> None:
    """A name is kept exactly as it was sent, so one that would mislead people is refused."""
    if not value.strip():
        raise InvalidValue(f"{where}: must not be empty")
    if len(value) > limits.max_name_length:
        raise InvalidValue(f"{where}: longer than {limits.max_name_length} characters")
    if CONTROL.search(value):
        raise InvalidValue(f"{where}: must not hold control characters")


def _is_date_time(value: str) -> bool:
    if not DATE_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _member_id(attribute: Attribute, item: object) -> object:
    """Return what a member object holds under `value`, in any case."""
    if not isinstance(item, dict):
        return None
    if "value" in item:
        return item["value"]
    main = attribute.sub("value")
    return next((v for name, v in item.items() if attribute.sub(name) is main), None)


def wrong_type(attribute: Attribute, where: str) -> InvalidValue:
    return InvalidValue(f"{where}: must be {EXPECTED[attribute.type]}")


# --- what no schema has to be asked for -------------------------------------------------------


def _is_sound(body: dict[str, Any], depth: int) -> bool:
    """Return whether there is no offence in the body, at a small part of what finding one costs."""
    try:
        msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, RecursionError):
        return False
    level: list[Any] = [body]
    for _ in range(depth):
        below: list[Any] = []
        for value in level:
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, (dict, list)):
                    below.append(item)
                elif isinstance(item, float) and not math.isfinite(item):
                    return False
        if not below:
            return True
        level = below
    return False


def _offence(value: object, depth: int) -> tuple[tuple[str, ...], str] | None:
    """Return the place of something that can't be stored and why, or None.

    The place is put together on the way back only: nearly all bodies are fine.
    """
    if isinstance(value, str):
        return None if _is_encodable(value) else ((), "holds half of a surrogate pair")
    if isinstance(value, dict):
        if depth == 0:
            return (), "is nested too deeply"
        for name, item in value.items():
            if not _is_encodable(name):
                return (name,), "the name holds half of a surrogate pair"
            if offence := _offence(item, depth - 1):
                return (name, *offence[0]), offence[1]
    elif isinstance(value, list):
        if depth == 0:
            return (), "is nested too deeply"
        for index, item in enumerate(value):
            if offence := _offence(item, depth - 1):
                return (f"[{index}]", *offence[0]), offence[1]
    elif isinstance(value, float) and not math.isfinite(value):
        return (), "must be a finite number"
    return None


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _printable(text: str) -> str:
    """Return `text` as an error may show it: short, and encodable."""
    return shown(text).encode(errors="backslashreplace").decode()
