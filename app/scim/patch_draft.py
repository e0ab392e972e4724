"""A copy of a document on which the operations of a PATCH work, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.errors import NoTarget, TooMany
from app.scim.attribute import SCHEMAS, Attribute, ResourceType, Schema
from app.scim.filter import Filter, matches_value
from app.scim.limits import Limits
from app.scim.members import MemberLog
from app.scim.patch_path import PatchPath, equalities
from app.scim.quirks import Quirk
from app.scim.reading import refuse_two_primaries, unique
from app.scim.validate import refuse_immutable_changes, require, schemas_of


class Draft:
    """The document so far. Its values are canonical before each operation and after it."""

    def __init__(
        self, resource_type: ResourceType, document: dict[str, Any], limits: Limits
    ) -> None:
        self.members = MemberLog()
        self.quirks: set[Quirk] = set()
        self._type, self._before, self._limits = resource_type, document, limits
        self._document: dict[str, Any] = _copy(document)

    def change(self, op: str, path: PatchPath, value: Any) -> None:
        """Do `op` at a place; `value` is canonical, and None removes or adds nothing."""
        if op == "add" and value is None:
            return
        schema = path.schema
        container = self._document if schema is None else self._document.setdefault(schema.id, {})
        if path.attribute.multi_valued or path.filter is not None:
            changed: Any = self._changed_values(op, path, value, container)
        else:
            changed = _changed_value(op, path, value, container.get(path.attribute.name))
        if changed in (None, [], {}):
            container.pop(path.attribute.name, None)
        else:
            container[path.attribute.name] = changed
        if schema is not None and not container:
            del self._document[schema.id]

    def remove_extension(self, schema: Schema) -> None:
        self._document.pop(schema.id, None)

    def finished(self) -> dict[str, Any]:
        """Return the document, in canonical order, if it is one that may be stored."""
        require(self._type, self._document)
        refuse_immutable_changes(self._type, self._before, self._document)
        self._document[SCHEMAS.name] = schemas_of(self._type, self._document)
        ordered = _ordered(self._type.core, self._document)
        for schema in self._type.extensions:
            if schema.id in ordered:
                ordered[schema.id] = _ordered(schema.attributes, ordered.pop(schema.id))
        return ordered

    def _changed_values(
        self, op: str, path: PatchPath, value: Any, container: dict[str, Any]
    ) -> Any:
        attribute = path.attribute
        held = container.get(attribute.name)
        values = held if isinstance(held, list) else [] if held is None else [held]
        if path.filter is None and path.sub is None:
            changed, touched = _changed_list(op, value, values)
        elif op == "remove" or value is None:
            changed, touched = _without_chosen(path, values), []
        else:
            changed, touched = _with_chosen(op, path, value, values)
            if path.filter is not None and len(changed) > len(values):
                self.quirks.add(Quirk.CREATED_BY_FILTER)
        _settle_primary(changed, touched, str(path))
        changed = unique([v for v in changed if v not in (None, {})])
        if len(changed) > max(self._limits.max_values, len(values)):
            raise TooMany(f"{attribute.name}: more than {self._limits.max_values} values")
        return changed if attribute.multi_valued else (changed or [None])[0]


def _changed_value(op: str, path: PatchPath, value: Any, held: Any) -> Any:
    """Return what a single-valued attribute holds afterwards.

    The sub-attributes of a complex value that the operation doesn't name stay as they are, for
    `add` and `replace` alike (§3.5.2.1, §3.5.2.3).
    """
    if path.sub is not None:
        value = {path.sub.name: None if op == "remove" else value}
    elif op == "remove" or value is None:
        return None
    elif path.attribute.type != "complex":
        return value
    return _updated(held or {}, value)


def _changed_list(op: str, value: Any, values: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return the values afterwards, and those among them that the operation named."""
    if op == "remove":
        return ([] if value is None else _without(values, value)), []
    if op == "replace":
        return list(value or []), []
    changed = list(values)
    places = {_identity(v): n for n, v in enumerate(changed)}
    touched: dict[int, None] = {}
    for item in value:
        place = places.setdefault(_identity(item), len(changed))
        touched[place] = None
        if place == len(changed):
            changed.append(item)
        elif isinstance(item, dict):
            changed[place] = _updated(changed[place], item)
    return changed, [changed[place] for place in touched]


def _identity(value: Any) -> object:
    """What makes a value the same one as another: its `value` and `type` (RFC 7643 §2.4)."""
    if not isinstance(value, dict):
        return value
    if "value" in value:
        return str(value["value"]), value.get("type")
    return repr(sorted((name, item) for name, item in value.items() if name != "primary"))


def _without(values: list[Any], removed: list[Any]) -> list[Any]:
    """Return the values that none of `removed` describes; a part of a value describes it."""
    described = [item for item in removed if isinstance(item, dict)]
    simple = [item for item in removed if not isinstance(item, dict)]
    return [
        v
        for v in values
        if v not in simple
        and not (isinstance(v, dict) and any(item.items() <= v.items() for item in described))
    ]


def _without_chosen(path: PatchPath, values: list[Any]) -> list[Any]:
    """Return the values without those that the filter chooses, or these without a part.

    To remove what isn't there is no error: the repeat of a PATCH whose answer was lost succeeds.
    """
    if path.sub is None:
        return [v for v in values if not _is_chosen(path.filter, v)]
    gone = {path.sub.name: None}
    return [_updated(v, gone) if _is_chosen(path.filter, v) else v for v in values]


def _with_chosen(
    op: str, path: PatchPath, value: Any, values: list[Any]
) -> tuple[list[Any], list[Any]]:
    """Return the values after each one that is chosen was set, and those that were.

    Where the filter chooses none, `[type eq "work"]` and `[primary eq true]` make one: Entra ID
    counts on that for `add` and `replace`; other filters are NoTarget (§3.5.2.3).
    """
    chosen = [n for n, v in enumerate(values) if _is_chosen(path.filter, v)]
    changed = list(values)
    if not chosen:
        chosen = [len(changed)]
        changed.append(_created(path))
    for n in chosen:
        if path.sub is not None:
            changed[n] = _updated(changed[n], {path.sub.name: value})
        elif not isinstance(value, dict):
            changed[n] = value
        elif op == "add":
            changed[n] = _updated(changed[n], value)
        else:
            # A replaced value stays what it was chosen for, unless the new one says otherwise.
            changed[n] = _updated(_implied(path.filter), value)
    return changed, [changed[n] for n in chosen]


def _created(path: PatchPath) -> dict[str, Any]:
    if path.filter is None:
        return {}
    implied = _implied(path.filter)
    if implied.keys() <= {"type", "primary"} and matches_value(path.filter, implied):
        return implied
    raise NoTarget(f"{path}: no value fulfils the filter")


def _implied(filter_: Filter | None) -> dict[str, Any]:
    """Return the sub-attributes that `a eq 1 and b eq 2 …` says a value has, if it is one."""
    terms = (equalities(filter_) if filter_ is not None else None) or []
    return {term.path.attribute.name: term.value for term in terms if term.value is not None}


def _is_chosen(filter_: Filter | None, value: Any) -> bool:
    return filter_ is None or matches_value(filter_, value)


def _updated(held: dict[str, Any], update: dict[str, Any]) -> dict[str, Any]:
    """Return a complex value after an update, in which None removes.

    A `$ref` that came with another `value` is not kept beside the new one.
    """
    value = held | update
    if value.get("value") != held.get("value") and "$ref" not in update:
        value.pop("$ref", None)
    return {name: item for name, item in value.items() if item is not None}


def _settle_primary(values: list[Any], touched: list[Any], where: str) -> None:
    """A value that becomes primary takes that from the others (§3.5.2). Changes `values`."""
    refuse_two_primaries(touched, where)
    claim = next((t for t in touched if isinstance(t, dict) and t.get("primary") is True), None)
    if claim is None:
        return
    for n, value in enumerate(values):
        if value is not claim and isinstance(value, dict) and value.get("primary") is True:
            values[n] = value | {"primary": False}


def _ordered(attributes: Iterable[Attribute], held: dict[str, Any]) -> dict[str, Any]:
    """Return the same in the order of the schema; what the schema doesn't know comes last."""
    ordered = {
        attribute.name: _ordered_value(attribute, held[attribute.name])
        for attribute in attributes
        if attribute.name in held
    }
    return ordered | {name: item for name, item in held.items() if name not in ordered}


def _ordered_value(attribute: Attribute, value: Any) -> Any:
    if isinstance(value, list):
        return [_ordered_value(attribute, item) for item in value]
    if isinstance(value, dict):
        return _ordered(attribute.sub_attributes, value)
    return value


def _copy(value: Any) -> Any:
    """Return a copy of JSON that shares nothing that can be changed."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
