"""Bodies become documents: checked against the schemas, with canonical names, nothing else kept.

A document is what the directory stores of a resource: its writable attributes under their schema's
spelling and in their schema's order, extensions under their URNs, `schemas` as the URNs that are
really there. Equal states are equal as JSON text, and a document read again is itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.errors import InvalidValue, Mutability, TooMany
from app.scim.attribute import SCHEMAS, Attribute, ResourceType, Schema
from app.scim.limits import DEFAULT_LIMITS, Limits
from app.scim.members import MemberChange
from app.scim.paths import shown
from app.scim.quirks import Quirk
from app.scim.reading import (
    CONTROL,
    Reading,
    checked_object,
    given_twice,
    join,
    read_known,
    read_object,
)
from app.scim.schema import GROUP


class Parsed(msgspec.Struct, frozen=True):
    """A body, read: the document, and the names in it that no schema knows, as they were sent.

    `secret`: the password in the clear, to be hashed at once; None where the body has none.
    `quirks`: where the body was not what the RFC says.
    """

    document: dict[str, Any]
    ignored: tuple[str, ...]
    secret: str | None = None
    quirks: frozenset[Quirk] = frozenset()

    def __repr__(self) -> str:
        return f"Parsed(document={self.document!r}, ignored={self.ignored!r})"


def parse_resource(
    resource_type: ResourceType,
    body: object,
    *,
    limits: Limits = DEFAULT_LIMITS,
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
    secret = reading.secrets[0] if reading.secrets else None
    return Parsed(document, tuple(reading.ignored), secret, frozenset(reading.quirks))


def parse_group(
    body: object,
    *,
    limits: Limits = DEFAULT_LIMITS,
    resource_type: ResourceType = GROUP,
) -> tuple[Parsed, MemberChange | None]:
    """Return a group's document and, apart from it, its members, replaced by those in the body.

    None where the body has no `members`; null and an empty list are no members. Whether a PUT
    without them empties the group is the caller's decision.
    """
    parsed = parse_resource(resource_type, body, limits=limits)
    return parsed, read_members(resource_type, checked_object(body, limits, deep=False), limits)


def read_members(
    resource_type: ResourceType, body: Mapping[str, Any], limits: Limits
) -> MemberChange | None:
    """Return the members in a body, None where it has none."""
    for name, value in body.items():
        attribute = resource_type.attribute(name)
        if attribute is not None and attribute.separate:
            return MemberChange(read_member_ids(attribute, value, attribute.name, limits))
    return None


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


def require(resource_type: ResourceType, document: dict[str, Any]) -> None:
    """Raise InvalidValue if a required attribute has no value.

    Those of an extension are required where the resource has the extension at all.
    """
    _require(resource_type.schema, document, "")
    for schema in resource_type.extensions:
        if (held := document.get(schema.id)) is not None:
            _require(schema, held, f"{schema.id}:")


def _require(schema: Schema, held: dict[str, Any], where: str) -> None:
    for name in schema.required:
        if name not in held:
            raise InvalidValue(f"{join(where, name)}: is required")


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


def schemas_of(resource_type: ResourceType, document: Mapping[str, Any]) -> list[str]:
    """Return the URNs of the schemas that a document really has attributes of."""
    present = [resource_type.schema.id]
    for schema in resource_type.extensions:
        if schema.id in document:
            present.append(schema.id)  # noqa: PERF401 - each request comes here
    return present


# --- reading by schema ------------------------------------------------------------------------


def _read_resource(
    resource_type: ResourceType, body: dict[str, Any], reading: Reading
) -> dict[str, Any]:
    shape = resource_type.names.shape(tuple(body))
    if shape.twice is not None:
        raise given_twice("", shape.twice)
    document: dict[str, Any] = {SCHEMAS.name: []}
    document.update(read_known(shape, body, "", reading))
    _note_schemas(resource_type, document[SCHEMAS.name], reading)
    for schema, names in shape.extensions:
        if extension := _read_extension(schema, names, body, reading):
            document[schema.id] = extension
    for name in shape.unknown:
        if body[name] is not None:
            reading.ignore("", name)
    require(resource_type, document)
    document[SCHEMAS.name] = schemas_of(resource_type, document)
    return document


def _note_schemas(resource_type: ResourceType, listed: list[str], reading: Reading) -> None:
    """Note what `schemas` has that is no URN of a schema of today; the URL names the type."""
    if not listed:
        reading.quirks.add(Quirk.SCHEMAS_MISSING)
    for urn in listed:
        if urn in resource_type.urns:
            continue
        schema = resource_type.known_schema(urn)
        if schema is None:
            reading.quirks.add(Quirk.FOREIGN_SCHEMA)
        elif urn.lower() != schema.keys[0]:
            reading.quirks.add(Quirk.OLD_SCHEMA)


def _read_extension(
    schema: Schema, names: tuple[str, ...], body: dict[str, Any], reading: Reading
) -> dict[str, Any]:
    """Return an extension's attributes, which old URNs may hold as well; the right one wins."""
    extension: dict[str, Any] = {}
    for name in names:
        value = body[name]
        if value is None or value == []:
            continue
        if not isinstance(value, dict):
            raise InvalidValue(f"{shown(name)}: must be an object")
        if name.lower() != schema.keys[0]:
            reading.quirks.add(Quirk.OLD_SCHEMA)
        extension |= read_object(schema.names, value, f"{schema.id}:", reading)
    return extension


def _member_id(attribute: Attribute, item: object) -> object:
    """Return what a member object holds under `value`, in any case."""
    if not isinstance(item, dict):
        return None
    if "value" in item:
        return item["value"]
    main = attribute.sub("value")
    return next((v for name, v in item.items() if attribute.sub(name) is main), None)
