"""Extension schemas that a tenant declares: attributes that its identity provider sends beside the
RFC's, kept, filtered by and shown like those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from app.config.section import Flag, Section, Text
from app.scim.agents import AGENT, AGENTIC_APPLICATION
from app.scim.applied import applied_schema
from app.scim.attribute import Attribute, ResourceType, Returned, Schema, Type
from app.scim.paths import NAME, URN
from app.scim.schema import GROUP, RESOURCE_TYPES, USER

_OURS = {
    key
    for of in (USER, GROUP, AGENT, AGENTIC_APPLICATION)
    for schema in (of.schema, *of.extensions, applied_schema())
    for key in schema.keys
}
_EXACT = frozenset({"binary", "reference"})
# What lanes bring to targets; an application is nobody there.
_PLACED = frozenset({USER.name, GROUP.name, AGENT.name})


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("is no name of an attribute; use letters, digits, _ and -, a letter first")
    return text


def _urn(text: str) -> str:
    if not URN.fullmatch(text):
        raise ValueError('is no URN; write it as in "urn:acme:scim:schemas:2.0:Badge"')
    if text.lower() in _OURS:
        raise ValueError("is a schema that is known without being declared; choose another URN")
    return text


Name = Annotated[Text, AfterValidator(_name)]
Urn = Annotated[str, AfterValidator(_urn)]


class Part(Section):
    """A sub-attribute."""

    name: Name
    type: Literal["string", "boolean", "decimal", "integer", "dateTime", "binary", "reference"] = (
        "string"
    )
    multi_valued: Flag = False
    case_exact: Flag | None = None
    returned: Returned = "default"
    canonical_values: tuple[Text, ...] = ()
    reference_types: tuple[Text, ...] = ("external",)
    description: Text = "Declared in the configuration."

    def as_attribute(self) -> Attribute:
        return Attribute(**_characteristics(self, self.type))


class DeclaredAttribute(Section):
    """An attribute of a declared schema. `case_exact`: by default for URIs and binary values only.

    There is no `uniqueness`, which only an index could keep, and no mutability but these: what
    nobody can write or read is nothing to declare.
    """

    name: Name
    type: Type = "string"
    multi_valued: Flag = False
    required: Flag = False
    case_exact: Flag | None = None
    mutability: Literal["readWrite", "immutable"] = "readWrite"
    returned: Returned = "default"
    canonical_values: tuple[Text, ...] = ()
    reference_types: tuple[Text, ...] = ("external",)
    description: Text = "Declared in the configuration."
    sub_attributes: tuple[Part, ...] = ()

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if raw.get("type") == "complex" and not raw.get("sub_attributes"):
            yield "sub_attributes", "is missing; a complex attribute has some"
        if raw.get("type") != "complex" and raw.get("sub_attributes"):
            yield "sub_attributes", 'belongs to type = "complex"; remove it or set the type'
        yield from _twice("sub_attributes", raw)

    def as_attribute(self) -> Attribute:
        return Attribute(
            **_characteristics(self, self.type),
            required=self.required,
            mutability=self.mutability,
            sub_attributes=tuple(part.as_attribute() for part in self.sub_attributes),
        )


def _some(attributes: tuple[DeclaredAttribute, ...]) -> tuple[DeclaredAttribute, ...]:
    # Field(min_length=1) would also complain where the only attribute is a mistake.
    if not attributes:
        raise ValueError("must have at least one entry")
    return attributes


class DeclaredSchema(Section):
    """A schema, and the resource type that takes it as an extension, which is never required."""

    name: Text
    description: Text = "Declared in the configuration."
    resource: Literal["User", "Group", "Agent", "AgenticApplication"] = "User"
    attributes: Annotated[tuple[DeclaredAttribute, ...], AfterValidator(_some)]

    @classmethod
    def relations(cls, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from _twice("attributes", raw)

    def as_schema(self, urn: str) -> Schema:
        return Schema(
            id=urn,
            name=self.name,
            description=self.description,
            attributes=tuple(attribute.as_attribute() for attribute in self.attributes),
        )


def resource_types(
    declared: Mapping[str, DeclaredSchema], applied_state: Returned
) -> Mapping[str, ResourceType]:
    """Return the types of a tenant by name: those of everybody, with its own extensions.

    Tenants without extensions share theirs: there are thousands of them.
    """
    return _extended(declared, applied_state) if declared else _common(applied_state)


@cache
def _common(applied_state: Returned) -> Mapping[str, ResourceType]:
    return MappingProxyType(_extended({}, applied_state))


def _extended(
    declared: Mapping[str, DeclaredSchema], applied_state: Returned
) -> dict[str, ResourceType]:
    types = {}
    for name, base in RESOURCE_TYPES.items():
        own = (one.as_schema(urn) for urn, one in declared.items() if one.resource == name)
        shown = [applied_schema(applied_state)] if name in _PLACED else []
        types[name] = base.extended(*own, *shown)
    return types


def clashes(raw: object) -> Iterator[str]:
    """Yield each URN that another one differs from in case only: they would be the same schema."""
    seen: set[str] = set()
    for urn in raw if isinstance(raw, dict) else ():
        if str(urn).lower() in seen:
            yield str(urn)
        seen.add(str(urn).lower())


def _characteristics(of: Part | DeclaredAttribute, kind: Type) -> dict[str, Any]:
    return {
        "name": of.name,
        "type": kind,
        "multi_valued": of.multi_valued,
        "case_exact": kind in _EXACT if of.case_exact is None else of.case_exact,
        "returned": of.returned,
        "canonical_values": of.canonical_values,
        "reference_types": of.reference_types if kind == "reference" else (),
        "description": of.description,
    }


def _twice(key: str, raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a mistake if two entries have one name, which ignores case (RFC 7643 §2.1)."""
    listed = raw.get(key)
    seen: set[str] = set()
    for entry in listed if isinstance(listed, list) else ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if isinstance(name, str):
            if name.lower() in seen:
                yield key, f"has {name} twice; names ignore case"
            seen.add(name.lower())
