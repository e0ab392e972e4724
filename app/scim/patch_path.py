"""Where a PATCH operation works: `members[value eq "1"]`, `emails[type eq "work"].value`, a URN."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import InvalidFilter, InvalidPath
from app.scim.attribute import Attribute, ResourceType, Schema
from app.scim.filter import And, Comparison, Filter, FilterParser, render
from app.scim.limits import DEFAULT_LIMITS, Limits
from app.scim.paths import AttributePath, is_well_formed, shown
from app.scim.quirks import Quirk


@dataclass(frozen=True, slots=True)
class PatchPath:
    """An attribute; with `filter` those of its values that fulfil it; `sub` a part of these.

    `schema`: the extension that has the attribute, None for a core attribute.
    """

    schema: Schema | None
    attribute: Attribute
    filter: Filter | None = None
    sub: Attribute | None = None

    @property
    def leaf(self) -> Attribute:
        return self.sub or self.attribute

    def __str__(self) -> str:
        where = str(AttributePath(self.schema, self.attribute))
        if self.filter is not None:
            where += f"[{render(self.filter)}]"
        return shown(where if self.sub is None else f"{where}.{self.sub.name}")


@dataclass(frozen=True, slots=True)
class SchemaPath:
    """A whole schema by its URN: all attributes of an extension, or the core ones."""

    schema: Schema


@dataclass(frozen=True, slots=True)
class UnknownPath:
    """Something that no schema knows; `explicit`: named by a path, not as a plain member."""

    text: str
    explicit: bool = True


def parse_path(
    resource_type: ResourceType,
    text: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    quirks: set[Quirk] | None = None,
) -> PatchPath | SchemaPath | UnknownPath:
    """Return the place that a path names (RFC 7644 §3.5.2, figure 7).

    Raises InvalidPath for a malformed path, InvalidFilter for a malformed filter in one: an unknown
    attribute and a malformed path are never taken for one another.
    """
    if len(text) > limits.max_filter_length:
        raise InvalidPath(f"path: longer than {limits.max_filter_length} characters")
    schema = resource_type.known_schema(text)
    if schema is not None:
        return SchemaPath(schema)
    head = text.partition("[")[0]
    if not is_well_formed(head):
        raise InvalidPath(f"{shown(text)}: is not a path")
    parser = FilterParser(resource_type, text, limits, quirks)
    path = parser.attribute_path()
    if not parser.at("["):
        if parser.unknown:
            return UnknownPath(shown(text))
        return PatchPath(path.schema, path.attribute, None, path.sub)
    return _value_path(parser, path, text)


def _value_path(parser: FilterParser, path: AttributePath, text: str) -> PatchPath | UnknownPath:
    if path.sub is not None:
        raise InvalidPath(f"{shown(text)}: a sub-attribute has no values to choose from")
    filter_ = parser.brackets(path.attribute, 0)
    sub: Attribute | None = None
    if parser.at("."):
        parser.position += 1
        if not is_well_formed(text[parser.position :]) or "." in text[parser.position :]:
            raise InvalidPath(f"{shown(text)}: expected a sub-attribute after `]`")
        sub = parser.attribute_path(path.attribute).attribute
        if path.attribute.type != "complex":
            sub = None  # the `value` of a simple attribute is the attribute
    if parser.position < len(text):
        raise InvalidPath(f"{shown(text)}: expected the end after `]`")
    if parser.unknown:
        return UnknownPath(shown(text))
    if path.attribute.type != "complex" and not path.attribute.multi_valued:
        raise InvalidFilter(f"{shown(text)}: {path.attribute.name} has one simple value only")
    return PatchPath(path.schema, path.attribute, filter_, sub)


def equalities(filter_: Filter) -> list[Comparison] | None:
    """Return the comparisons of `a eq 1 and b eq 2 …`, or None for a filter of another form."""
    terms = filter_.filters if isinstance(filter_, And) else (filter_,)
    found = [t for t in terms if isinstance(t, Comparison) and t.operator == "eq"]
    return found if len(found) == len(terms) else None
