"""Attribute paths in text: `name.givenName`, `urn:…:User:department` (RFC 7644 §3.10)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.scim.attribute import Attribute, ResourceType, Schema

# RFC 7643 §2.1: a letter, then letters, digits, `-` and `_`; `$ref` is the exception.
NAME = re.compile(r"\$?[A-Za-z][A-Za-z0-9_-]*")
# RFC 8141, loosely: what may stand in a URN, and so before the last colon of a path.
URN = re.compile(r"urn(?::[A-Za-z0-9._%+~@!*'=;/,&-]+)+", re.IGNORECASE)

SHOWN = 120


@dataclass(frozen=True, slots=True)
class AttributePath:
    """An attribute, or one of its sub-attributes; `schema` is the extension that has it, if any.

    In the filter of a value path, `attribute` is a sub-attribute of what stands before the bracket.
    """

    schema: Schema | None
    attribute: Attribute
    sub: Attribute | None = None

    @property
    def leaf(self) -> Attribute:
        return self.sub or self.attribute

    def __str__(self) -> str:
        prefix = "" if self.schema is None else f"{self.schema.id}:"
        suffix = "" if self.sub is None else f".{self.sub.name}"
        return f"{prefix}{self.attribute.name}{suffix}"


def is_well_formed(text: str) -> bool:
    """Whether `text` is an attribute path by the grammar, known to a schema or not."""
    urn, colon, rest = text.rpartition(":")
    if colon and not URN.fullmatch(urn):
        return False
    names = rest.split(".")
    return len(names) <= 2 and all(NAME.fullmatch(name) for name in names)


def resolve(resource_type: ResourceType, text: str) -> AttributePath | None:
    """Return what the path names, whatever its case, or None where no schema knows it.

    A bare name that the core schema doesn't have is looked for in the extensions: Entra ID filters
    by `manager eq "1"` and removes `manager[value eq "1"]`.
    """
    urn, colon, rest = text.rpartition(":")
    name, dot, sub_name = rest.partition(".")
    for schema, attribute in _candidates(resource_type, urn if colon else None, name):
        if not dot:
            return AttributePath(schema, attribute)
        if (sub := attribute.sub(sub_name)) is not None:
            return AttributePath(schema, attribute, sub)
    return None


def _candidates(
    resource_type: ResourceType, urn: str | None, name: str
) -> Iterator[tuple[Schema | None, Attribute]]:
    """Yield the attributes of that name, with the extension that has it; the core one first."""
    named = None if urn is None else resource_type.known_schema(urn)
    if urn is not None and named is None:
        return
    if (named is None or named is resource_type.schema) and (core := resource_type.attribute(name)):
        yield None, core
    for extension in resource_type.extensions:
        if (named is None or named is extension) and (attribute := extension.attribute(name)):
            yield extension, attribute


def shown(text: str) -> str:
    """Return `text` as an error may show it: a client's name for something can be very long."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
