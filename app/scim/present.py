"""What a client gets to see of a resource: its document, `id`, `meta`, and what it asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from app.errors import InvalidValue
from app.scim.attribute import ID, META, SCHEMAS, Attribute, ResourceType, Schema
from app.scim.paths import AttributePath, resolve
from app.scim.validate import schemas_of

Names = frozenset[str]
WHOLE: Names = frozenset()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which attributes an answer has (RFC 7644 §3.9).

    Keys are (URN of the extension or "", attribute, both canonical); values the sub-attributes that
    are meant, none of them for the whole attribute. `include` is None unless `attributes` was sent.
    """

    include: Mapping[tuple[str, str], Names] | None = None
    exclude: Mapping[tuple[str, str], Names] = field(default_factory=dict)

    def wants(self, name: str) -> bool:
        """Whether the core attribute is in the answer, so that a caller may save loading it."""
        if self.include is not None:
            return ("", name) in self.include
        return self.exclude.get(("", name)) != WHOLE

    def shows(self, urn: str, attribute: Attribute) -> bool:
        """Whether anything of an attribute that has a value is in the answer."""
        key = (urn, attribute.name)
        if attribute.returned in {"never", "always"}:
            return attribute.returned == "always"
        if self.include is not None:
            return key in self.include
        return attribute.returned == "default" and self.exclude.get(key) != WHOLE

    def part(self, urn: str, attribute: Attribute, value: Any) -> Any:
        """Return what the answer shows of an attribute's value, None for nothing."""
        key = (urn, attribute.name)
        if attribute.returned == "never":
            return None
        if attribute.returned == "always":
            return value
        if self.include is not None:
            named = self.include.get(key)
            return None if named is None else _only(attribute, value, named, named)
        if attribute.returned == "request":
            return None
        hidden = self.exclude.get(key)
        if hidden is None:
            return value if attribute.whole else _only(attribute, value, WHOLE, WHOLE)
        if hidden == WHOLE:
            return None
        shown = frozenset(sub.name for sub in attribute.sub_attributes) - hidden
        return _only(attribute, value, shown or frozenset({""}), WHOLE)


EVERYTHING = Selection()


def parse_selection(
    resource_type: ResourceType, attributes: str | None, excluded: str | None
) -> Selection:
    """Return what `attributes` or `excludedAttributes` select: names, sub-attributes, URNs.

    They exclude one another (§3.9). Names that no schema knows select nothing.
    """
    if attributes is None and excluded is None:
        return EVERYTHING
    wanted, unwanted = _listed(attributes), _listed(excluded)
    if wanted and unwanted:
        raise InvalidValue("attributes: can't be combined with excludedAttributes")
    return Selection(
        _by_attribute(resource_type, wanted) if wanted else None,
        _by_attribute(resource_type, unwanted),
    )


def present(
    resource_type: ResourceType,
    document: Mapping[str, Any],
    *,
    resource_id: str,
    location: str,
    version: int,
    created_ms: int,
    last_modified_ms: int,
    attributes: Selection = EVERYTHING,
) -> dict[str, Any]:
    """Return the resource as it is sent: `schemas` and `id` first.

    `document` may have read-only attributes that are kept elsewhere (a user's `groups`, a group's
    `members`). `schemas` lists what the answer really holds, as the document's own does of that.
    Nothing in `document` is changed, and the answer shares parts with it.
    """
    created = timestamp(created_ms)
    meta = {
        "resourceType": resource_type.name,
        "created": created,
        "lastModified": created if last_modified_ms == created_ms else timestamp(last_modified_ms),
        "location": location,
        "version": entity_tag(version),
    }
    answer: dict[str, Any] = {SCHEMAS.name: [], ID.name: resource_id}
    if attributes is EVERYTHING and _is_shown_whole(resource_type, document):
        answer.update(document)
        answer[META.name] = meta
        return answer
    extended = {**document, ID.name: resource_id, META.name: meta}
    answer |= _shown(resource_type.core, extended, "", attributes)
    for schema in resource_type.extensions:
        if schema.id in document:
            held = document[schema.id]
            if part := dict(_shown(schema.attributes, held, schema.id, attributes)):
                answer[schema.id] = part
    answer[SCHEMAS.name] = schemas_of(resource_type, answer)
    return answer


def _is_shown_whole(resource_type: ResourceType, document: Mapping[str, Any]) -> bool:
    """Whether an answer that nobody has chosen the attributes of is all of the document."""
    names = document.keys() - resource_type.shown
    if names:
        for schema in resource_type.extensions:
            if schema.id in names and schema.shown.issuperset(document[schema.id]):
                names.discard(schema.id)
    return not names


def timestamp(ms: int) -> str:
    """Return milliseconds since 1970 as `2026-01-31T09:30:00.000Z`."""
    seconds, fraction = divmod(ms, 1000)
    return f"{_second(seconds)}.{fraction:03d}Z"


@lru_cache(maxsize=4096)  # what is made or changed together is of few seconds
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def entity_tag(version: int) -> str:
    """Return the weak ETag of a version (RFC 7644 §3.14)."""
    return f'W/"{version}"'


def _listed(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _by_attribute(
    resource_type: ResourceType, names: Iterable[str]
) -> dict[tuple[str, str], Names]:
    selected: dict[tuple[str, str], Names] = {}
    for name in names:
        for path in _paths(resource_type, name):
            key = ("" if path.schema is None else path.schema.id, path.attribute.name)
            if path.sub is None or selected.get(key) == WHOLE:
                selected[key] = WHOLE
            else:
                selected[key] = selected.get(key, WHOLE) | {path.sub.name}
    return selected


def _paths(resource_type: ResourceType, name: str) -> Iterator[AttributePath]:
    """Yield what a name selects: all attributes of a schema if it is a URN."""
    schema: Schema | None = resource_type.known_schema(name)
    if schema is None:
        path = resolve(resource_type, name)
        if path is not None:
            yield path
        return
    extension = None if schema is resource_type.schema else schema
    for attribute in schema.attributes:
        yield AttributePath(extension, attribute)


def _shown(
    attributes: tuple[Attribute, ...],
    held: Mapping[str, Any],
    urn: str,
    selection: Selection,
) -> Iterator[tuple[str, Any]]:
    for attribute in attributes:
        value = held.get(attribute.name)
        if value is None:
            continue
        part = selection.part(urn, attribute, value)
        if part is not None:
            yield attribute.name, part


def _only(attribute: Attribute, value: Any, shown: Names, requested: Names) -> Any:
    """Return a value with the sub-attributes in `shown`, all for WHOLE, or None if none is left.

    Those that are returned always stay, those returned on request only if they are `requested`.
    """
    names = [
        sub.name
        for sub in attribute.sub_attributes
        if sub.returned == "always"
        or (
            sub.returned != "never"
            and (shown == WHOLE or sub.name in shown)
            and (sub.returned == "default" or sub.name in requested)
        )
    ]
    if len(names) == len(attribute.sub_attributes):
        return value
    if isinstance(value, list):
        parts = [{n: item[n] for n in names if n in item} for item in value]
        return [part for part in parts if part] or None
    return {n: value[n] for n in names if n in value} or None
