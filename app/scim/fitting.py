"""Bodies that fit their schema to the letter, as most do, read by a decoder that is made of it.

The decoder knows names in the schema's spelling and values of the schema's types, and refuses all
else. What it refuses may be fine all the same: `validate` takes far more, and finds the words for
what it does not take.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.scim.attribute import SCHEMAS, Attribute, ResourceType
from app.scim.limits import Limits
from app.scim.quirks import Quirk
from app.scim.reading import check_name, has_two_primaries, is_deeper, unique
from app.scim.validate import Parsed, schemas_of

_EMPTY = re.compile(rb"\{\s*\}")  # an object without a value is none
_TYPES: dict[str, Any] = {"string": str, "reference": str, "boolean": bool}
_ANYTHING = Any
_OTHERS = None  # what only `validate` reads: numbers, times, base64
_NOTHING = Annotated[str, Meta(pattern="(?!)")]
_SCHEMAS = SCHEMAS.name
_NO_QUIRKS: frozenset[Quirk] = frozenset()
_NO_SCHEMAS = frozenset({Quirk.SCHEMAS_MISSING})


class Fitting:
    """What reads the bodies of one resource type that fit it. The decoder is made at first use."""

    def __init__(self, resource_type: ResourceType) -> None:
        self._type = resource_type
        self._decode: Any = None
        core = resource_type.core
        self._beside = frozenset(a.name for a in core if _is_no_part(a))
        self._levels = 1 + max(map(_levels, [*core, *_parts_of_extensions(resource_type)]))
        self._secret = next((a.name for a in core if a.mutability == "writeOnly"), "")
        self._names = tuple(a.name for a in core if a.indexed and a.mutability != "readOnly")
        self._lists = frozenset(a.name for a in core if a.multi_valued) - {SCHEMAS.name}

    def read(self, text: bytes, limits: Limits) -> tuple[Parsed, dict[str, Any]] | None:
        """Return what `validate.parse_resource` says of the same body, and as it was sent what no
        document has: what lies beside it (`Attribute.separate`), or is read-only.

        None for a body that does not fit, be it good or bad. Raises InvalidValue as validate does.
        """
        if len(text) > limits.max_attribute_length or self._levels > limits.max_document_depth:
            return None
        if _EMPTY.search(text):
            return None
        if self._decode is None:
            self._decode = msgspec.json.Decoder(_struct_of(self._type)).decode
        try:
            document: dict[str, Any] = msgspec.to_builtins(self._decode(text))
        except ValueError:  # msgspec's errors are, and that of bytes that are no UTF-8
            return None
        return self._parsed(document, limits)

    def _parsed(
        self, document: dict[str, Any], limits: Limits
    ) -> tuple[Parsed, dict[str, Any]] | None:
        beside: dict[str, Any] = {}
        if not self._beside.isdisjoint(document):
            beside = {name: document.pop(name) for name in self._beside & document.keys()}
            if is_deeper(beside, limits.max_document_depth):
                return None
        secret = document.pop(self._secret, None)
        for name in self._names:
            if name in document:
                check_name(document[name], name, limits)
        for name in self._lists.intersection(document):
            values = document[name]
            if len(values) > 1:
                document[name] = unique(values)
                if len(values) > limits.max_values or has_two_primaries(document[name]):
                    return None
        listed, quirks = document.get(_SCHEMAS), _NO_QUIRKS
        if listed is None:
            document, quirks = {_SCHEMAS: None, **document}, _NO_SCHEMAS
        elif not self._type.urns.issuperset(listed):
            return None
        document[_SCHEMAS] = schemas_of(self._type, document)
        return Parsed(document, (), secret, quirks), beside


def _struct_of(resource_type: ResourceType) -> Any:
    core = [_field(a, _ANYTHING if _is_no_part(a) else _type_of(a)) for a in resource_type.core]
    extensions = [
        (schema.id, _struct(map(_simple_field, schema.attributes)) | UnsetType, UNSET)
        for schema in resource_type.extensions
    ]
    return _struct([*core, *extensions])


def _parts_of_extensions(resource_type: ResourceType) -> Iterator[Attribute]:
    for schema in resource_type.extensions:
        yield Attribute(name=schema.id, type="complex", sub_attributes=schema.attributes)


def _levels(attribute: Attribute) -> int:
    """Return how many objects and arrays lie in one another in what the decoder takes of it."""
    below = max(map(_levels, attribute.sub_attributes), default=0)
    return (attribute.type == "complex") + attribute.multi_valued + below


def _is_no_part(attribute: Attribute) -> bool:
    """Whether a document never has it, so that any value is fine."""
    return attribute.mutability == "readOnly" or attribute.separate


_Field = tuple[str, Any, Any]
"""A name, a type, and what stands for no value; NODEFAULT where there has to be one."""


def _struct(fields: Iterable[_Field]) -> Any:
    """Return what holds these fields, in this order, and nothing else; those of _OTHERS are not
    among them, so that what has one does not fit.
    """
    known = [field for field in fields if field[1] is not _OTHERS]
    numbered = [(f"f{number}", *field[1:]) for number, field in enumerate(known)]
    names = {f"f{number}": field[0] for number, field in enumerate(known)}
    return msgspec.defstruct(
        "Fitting", numbered, rename=names, forbid_unknown_fields=True, kw_only=True
    )


def _field(attribute: Attribute, kind: Any) -> _Field:
    if attribute.required and attribute is not SCHEMAS:
        return attribute.name, _NOTHING if kind is _OTHERS else kind, msgspec.NODEFAULT
    return attribute.name, kind if kind in {_ANYTHING, _OTHERS} else kind | UnsetType, UNSET


def _simple_field(attribute: Attribute) -> _Field:
    """Return the field of an attribute inside an extension or another attribute."""
    simple = attribute.mutability != "readOnly" and not attribute.multi_valued
    return _field(attribute, _single_type_of(attribute) if simple else _OTHERS)


def _type_of(attribute: Attribute) -> Any:
    single = _single_type_of(attribute)
    if single is _OTHERS or not attribute.multi_valued:
        return single
    return Annotated[list[single], Meta(min_length=1)]  # type: ignore[valid-type]


def _single_type_of(attribute: Attribute) -> Any:
    if attribute.type == "complex":
        return _struct(map(_simple_field, attribute.sub_attributes))
    return _TYPES.get(attribute.type, _OTHERS)
