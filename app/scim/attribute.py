"""What a schema says of an attribute: the one definition that every part of the protocol reads.

Names of attributes and URNs of schemas are compared without case (RFC 7643 §2.1). The tables that
this needs are made once, with the value that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, NamedTuple

Type = Literal[
    "string", "boolean", "decimal", "integer", "dateTime", "binary", "reference", "complex"
]
Mutability = Literal["readOnly", "readWrite", "immutable", "writeOnly"]
Returned = Literal["always", "never", "default", "request"]
Uniqueness = Literal["none", "server", "global"]


def _shown_whole(attributes: Iterable[Attribute]) -> frozenset[str]:
    shown = (a for a in attributes if a.returned in {"always", "default"} and a.whole)
    return frozenset(a.name for a in shown)


class Part(NamedTuple):
    """An attribute of an object that a client sent. `name`: as it was sent.

    `others`: further names of the same attribute beside it, by aliases. `by_alias`: `name` is one.
    """

    attribute: Attribute
    name: str
    others: tuple[str, ...] = ()
    by_alias: bool = False

    @property
    def is_direct(self) -> bool:
        """Whether what stands under `name` is the attribute's value, and all there is to it."""
        attribute = self.attribute
        if attribute.separate or attribute.mutability in {"readOnly", "writeOnly"}:
            return False
        return not self.others and not self.by_alias


class Shape(NamedTuple):
    """What the names of an object say, whatever its values are.

    `sent`, `names`: of the attributes that it has, as they were sent and as the schema writes them,
    in the schema's order. `parts`: the same. `plain`: the numbers of those that any text is a value
    of, `special`: of the others. `direct`: what `Part.is_direct` says of each. `extensions`: with
    the names that the object has for each, those of today last. `unknown`: names that no schema
    knows. `twice`: a name that an earlier one is in another case.
    """

    sent: tuple[str, ...]
    names: tuple[str, ...]
    parts: tuple[Part, ...]
    plain: tuple[int, ...]
    special: tuple[int, ...]
    direct: tuple[bool, ...]
    extensions: tuple[tuple[Schema, tuple[str, ...]], ...]
    unknown: tuple[str, ...]
    twice: str | None


_SHAPES = 256  # that are kept of one object: clients have few
_SHAPE = 2000  # characters of names in one that is kept


class Names:
    """The attributes that an object may have, found by the names that clients give them."""

    __slots__ = ("_attributes", "_by_key", "_extensions", "_shapes")

    def __init__(self, attributes: Iterable[Attribute], extensions: Iterable[Schema] = ()) -> None:
        self._attributes, self._extensions = tuple(attributes), tuple(extensions)
        aliases = {key: attribute for attribute in self._attributes for key in attribute.alias_keys}
        self._by_key = aliases | {attribute.key: attribute for attribute in self._attributes}
        self._shapes: dict[tuple[str, ...], Shape] = {}

    def attribute(self, name: str) -> Attribute | None:
        return self._by_key.get(name.lower())

    def shape(self, names: tuple[str, ...]) -> Shape:
        """Return what an object with these names holds; remembered, since clients repeat them."""
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shape(names)
            if sum(map(len, names)) <= _SHAPE:
                if len(self._shapes) >= _SHAPES:
                    self._shapes.clear()
                self._shapes[names] = shape
        return shape

    def _shape(self, names: tuple[str, ...]) -> Shape:
        sent: dict[str, str] = {}
        twice = None
        for name in names:
            if sent.setdefault(name.lower(), name) != name:
                twice = twice or name
        parts = []
        for attribute in self._attributes:
            keys = [key for key in (attribute.key, *attribute.alias_keys) if key in sent]
            if keys:
                name, *others = [sent.pop(key) for key in keys]
                parts.append(Part(attribute, name, tuple(others), keys[0] != attribute.key))
        held = (
            (schema, tuple(sent.pop(key) for key in reversed(schema.keys) if key in sent))
            for schema in self._extensions
        )
        extensions = tuple((schema, names) for schema, names in held if names)
        directs = tuple(part.is_direct for part in parts)
        return Shape(
            sent=tuple(part.name for part in parts),
            names=tuple(part.attribute.name for part in parts),
            parts=tuple(parts),
            plain=tuple(
                n for n, direct in enumerate(directs) if direct and parts[n].attribute.plain
            ),
            special=tuple(
                n for n, direct in enumerate(directs) if not (direct and parts[n].attribute.plain)
            ),
            direct=directs,
            extensions=extensions,
            unknown=tuple(sent.values()),
            twice=twice,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """The characteristics of an attribute (RFC 7643 §2.2 and §7), with its defaults.

    Three fields are ours. `indexed`: the directory finds resources by it, so its values are names:
    not empty, bounded, without control characters. `separate`: its values live beside the document
    (a group's members), so that changing one never rewrites the others. `aliases`: names under
    which clients send it although the RFC has another. `whole`: an answer that shows it without
    being asked shows every sub-attribute. `plain`: any text that is not too long is a value of it,
    `texts`: any list of such texts.
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
    texts: bool = field(init=False, repr=False, compare=False)
    subs: Names = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.name.lower())
        object.__setattr__(self, "alias_keys", tuple(name.lower() for name in self.aliases))
        shown = all(sub.returned in {"always", "default"} for sub in self.sub_attributes)
        object.__setattr__(self, "whole", shown)
        textual = self.type in {"string", "reference"} and not (self.indexed or self.separate)
        writable = self.mutability == "readWrite"
        object.__setattr__(self, "plain", textual and writable and not self.multi_valued)
        object.__setattr__(self, "texts", textual and self.multi_valued)
        object.__setattr__(self, "subs", Names(self.sub_attributes))

    def sub(self, name: str) -> Attribute | None:
        """Return the sub-attribute of that name, in any case, or None."""
        return self.subs.attribute(name)


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
    required: tuple[str, ...] = field(init=False, repr=False, compare=False)
    shown: frozenset[str] = field(init=False, repr=False, compare=False)
    names: Names = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(urn.lower() for urn in (self.id, *self.aliases)))
        required = tuple(a.name for a in self.attributes if a.required)
        object.__setattr__(self, "required", required)
        object.__setattr__(self, "shown", _shown_whole(self.attributes))
        object.__setattr__(self, "names", Names(self.attributes))

    def attribute(self, name: str) -> Attribute | None:
        """Return the attribute of that name, in any case, or None."""
        return self.names.attribute(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """A resource type of RFC 7643 §6: its endpoint, its schema and the extensions that it takes.

    `core`: the common attributes of §3.1 and those of `schema`, in the order in which documents
    hold them. `urns`: of its schemas as they are written today. `shown`, as in Schema: the names of
    attributes that an answer has as they are, unless it is asked for others.
    """

    name: str
    endpoint: str
    description: str
    schema: Schema
    extensions: tuple[Schema, ...] = ()
    core: tuple[Attribute, ...] = field(init=False, repr=False, compare=False)
    urns: frozenset[str] = field(init=False, repr=False, compare=False)
    shown: frozenset[str] = field(init=False, repr=False, compare=False)
    names: Names = field(init=False, repr=False, compare=False)
    _schemas: Mapping[str, Schema] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        core = (SCHEMAS, ID, EXTERNAL_ID, *self.schema.attributes, META)
        schemas = {key: s for s in (self.schema, *self.extensions) for key in s.keys}
        urns = frozenset(schema.id for schema in (self.schema, *self.extensions))
        object.__setattr__(self, "urns", urns)
        object.__setattr__(self, "core", core)
        object.__setattr__(self, "shown", _shown_whole(core))
        object.__setattr__(self, "names", Names(core, self.extensions))
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
        return self.names.attribute(name)

    def known_schema(self, urn: str) -> Schema | None:
        """Return this type's schema or extension of that URN, in any case or by an alias."""
        return self._schemas.get(urn.lower())


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
