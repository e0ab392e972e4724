"""What a schema says of an attribute: the one definition that every part of the protocol reads.

Names of attributes and URNs of schemas are compared without case (RFC 7643 §2.1). The tables that
this needs are made once, with the value that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

Type = Literal[
    "string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"
]
Mutability = Literal["readOnly", "readWrite", "immutable", "writeOnly"]
Returned = Literal["always", "never", "default", "request"]
Uniqueness = Literal["none", "server", "global"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """The characteristics of an attribute (RFC 7643 §2.2 and §7), with its defaults.

    Three fields are ours. `indexed`: the directory finds resources by it, so its values are names:
    not empty, bounded, without control characters. `separate`: its values live beside the document
    (a group's members), so that changing one never rewrites the others. `aliases`: names under
    which clients send it although the RFC has another. `whole`: an answer that shows it without
    being asked shows every sub-attribute. `plain`: any text that is not too long is a value of it.
    """

    name: str
    type: Type = "string"
    multi_valued: bool = False
    required: bool = False
    case_exact: bool = False
    mutability: Mutability = "readWrite"
    returned: Returned = "default"
    uniqueness: Uniqueness = "none"
    sub_attributes: tuple[Attribute, ...] = ()
    canonical_values: tuple[str, ...] = ()
    reference_types: tuple[str, ...] = ()
    description: str = ""
    indexed: bool = False
    separate: bool = False
    aliases: tuple[str, ...] = ()
    key: str = field(init=False, repr=False, compare=False)
    alias_keys: tuple[str, ...] = field(init=False, repr=False, compare=False)
    whole: bool = field(init=False, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)
    _subs: Mapping[str, Attribute] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name.lower())
        object.__setattr__(self, "alias_keys", tuple(name.lower() for name in self.aliases))
        shown = all(sub.returned in {"always", "default"} for sub in self.sub_attributes)
        object.__setattr__(self, "whole", shown)
        plain = self.type in {"string", "reference"} and self.mutability == "readWrite"
        special = self.multi_valued or self.indexed or self.separate
        object.__setattr__(self, "plain", plain and not special)
        object.__setattr__(self, "_subs", _by_name(self.sub_attributes))

    def sub(self, name: str) -> Attribute | None:
        """Return the sub-attribute of that name, in any case, or None."""
        return self._subs.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """A schema of RFC 7643 §7. `aliases`: URNs of drafts and of SCIM 1 that mean this one.

    `announced`: whether resource types name it among their extensions. What this service adds of
    its own is described at /Schemas and works when it is named, but is not offered there: clients
    and testers try to fill whatever they are offered.
    """

    id: str
    name: str
    description: str
    attributes: tuple[Attribute, ...]
    aliases: tuple[str, ...] = ()
    announced: bool = True
    keys: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _attributes: Mapping[str, Attribute] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(urn.lower() for urn in (self.id, *self.aliases)))
        object.__setattr__(self, "_attributes", _by_name(self.attributes))

    def attribute(self, name: str) -> Attribute | None:
        """Return the attribute of that name, in any case, or None."""
        return self._attributes.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """A resource type of RFC 7643 §6: its endpoint, its schema and the extensions that it takes.

    `core`: the common attributes of §3.1 and those of `schema`, in the order in which documents
    hold them.
    """

    name: str
    endpoint: str
    description: str
    schema: Schema
    extensions: tuple[Schema, ...] = ()
    core: tuple[Attribute, ...] = field(init=False, repr=False, compare=False)
    _core: Mapping[str, Attribute] = field(init=False, repr=False, compare=False)
    _schemas: Mapping[str, Schema] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        core = (SCHEMAS, ID, EXTERNAL_ID, *self.schema.attributes, META)
        schemas = {key: s for s in (self.schema, *self.extensions) for key in s.keys}
        object.__setattr__(self, "core", core)
        object.__setattr__(self, "_core", _by_name(core))
        object.__setattr__(self, "_schemas", MappingProxyType(schemas))

    def extended(self, *extensions: Schema) -> ResourceType:
        """Return the same type with these extensions as well."""
        return replace(self, extensions=(*self.extensions, *extensions))

    @property
    def naming(self) -> Attribute:
        """Return the attribute whose value names a resource: unique, and looked up in an index."""
        return next(a for a in self.schema.attributes if a.indexed and a.uniqueness == "server")

    def attribute(self, name: str) -> Attribute | None:
        """Return the common or core attribute of that name, in any case, or None."""
        return self._core.get(name.lower())

    def known_schema(self, urn: str) -> Schema | None:
        """Return this type's schema or extension of that URN, in any case or by an alias."""
        return self._schemas.get(urn.lower())


def _by_name(attributes: Iterable[Attribute]) -> Mapping[str, Attribute]:
    listed = tuple(attributes)
    aliases = {key: attribute for attribute in listed for key in attribute.alias_keys}
    return MappingProxyType(aliases | {attribute.key: attribute for attribute in listed})


SCHEMAS = Attribute(
    name="schemas",
    type="reference",
    multi_valued=True,
    required=True,
    case_exact=True,
    returned="always",
    reference_types=("uri",),
    description="URNs of the schemas that the resource's attributes come from.",
)

ID = Attribute(
    name="id",
    case_exact=True,
    mutability="readOnly",
    returned="always",
    uniqueness="server",
    description="The identifier that this service gave the resource.",
    indexed=True,
)

EXTERNAL_ID = Attribute(
    name="externalId",
    case_exact=True,
    description="The identifier that the provisioning client gave the resource.",
    indexed=True,
)

META = Attribute(
    name="meta",
    type="complex",
    mutability="readOnly",
    description="What this service knows about the resource itself.",
    sub_attributes=(
        Attribute(
            name="resourceType",
            case_exact=True,
            mutability="readOnly",
            description="The name of the resource type.",
        ),
        Attribute(
            name="created",
            type="dateTime",
            mutability="readOnly",
            description="When the resource was added.",
        ),
        Attribute(
            name="lastModified",
            type="dateTime",
            mutability="readOnly",
            description="When the resource was last changed.",
        ),
        Attribute(
            name="location",
            type="reference",
            case_exact=True,
            mutability="readOnly",
            reference_types=("uri",),
            description="The URI of the resource.",
        ),
        Attribute(
            name="version",
            case_exact=True,
            mutability="readOnly",
            description="The weak entity tag of this state of the resource.",
        ),
    ),
)
