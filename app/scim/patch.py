"""PATCH (RFC 7644 §3.5.2): operations are read as a whole, then applied to a document as a whole.

What providers send differs from the RFC and from one another. Each deviation that is taken is
named where it is; everything else is an error, never a success that did nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from app.errors import (
    InvalidFilter,
    InvalidPath,
    InvalidSyntax,
    InvalidValue,
    Mutability,
    NoTarget,
    TooMany,
)
from app.scim.attribute import Attribute, ResourceType
from app.scim.filter import Comparison, Filter, Or
from app.scim.limits import DEFAULT_LIMITS, Limits
from app.scim.members import MemberChange
from app.scim.password import NO_PASSWORD
from app.scim.patch_draft import Draft
from app.scim.patch_path import PatchPath, SchemaPath, UnknownPath, parse_path
from app.scim.paths import NAME, is_well_formed, shown
from app.scim.quirks import Quirk
from app.scim.reading import Reading, checked_object, read_attribute, read_one
from app.scim.validate import read_member_ids

Op = Literal["add", "replace", "remove"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one place. An operation without a path is as many as it names attributes.

    `value` is canonical; None removes, or adds nothing. A complex value may hold None for
    sub-attributes that go. Of the members of a group, `members` says it all, of a password
    `secret`: in the clear, or NO_PASSWORD. `ignored`: the names in the operation that no schema
    knows.
    """

    op: Op
    path: PatchPath | SchemaPath | UnknownPath
    value: Any = None
    members: MemberChange | None = None
    ignored: tuple[str, ...] = ()
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Patched:
    """What a PATCH makes of a document.

    `document` is a new one, equal to the old one if nothing changed. `members`: how the members
    change, None if no operation named them. `ignored`: what no schema knows, left out. `secret`:
    the new password in the clear, to be hashed at once, or NO_PASSWORD; None where it stays.
    `quirks`: those that only the document shows.
    """

    document: dict[str, Any]
    members: MemberChange | None
    ignored: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)
    quirks: frozenset[Quirk] = frozenset()


def parse_patch(
    resource_type: ResourceType,
    body: object,
    *,
    limits: Limits = DEFAULT_LIMITS,
    quirks: set[Quirk] | None = None,
) -> tuple[Operation, ...]:
    """Return the operations of a PATCH body; every error that needs no document is raised here.

    `quirks`: where it is given, gets what the body holds beside the RFC.

    Taken beyond the RFC: a body without `schemas` (authentik), keys and `op` in any case (Entra
    ID). An unknown path is InvalidPath, unless the same PATCH deactivates the resource: access must
    never outlive a mistake in a mapping. Then `apply_patch` leaves the unknown part out.
    """
    checked = checked_object(body, limits)
    reading = Reading(limits, quirks)
    if not _member(checked, "schemas"):
        reading.quirks.add(Quirk.SCHEMAS_MISSING)
    listed = _member(checked, "operations")
    if isinstance(listed, dict):
        reading.quirks.add(Quirk.VALUE_WITHOUT_LIST)
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        raise InvalidSyntax("Operations: must be a list of at least one operation")
    if len(listed) > limits.max_patch_operations:
        raise TooMany(f"Operations: more than {limits.max_patch_operations} in one request")
    operations = tuple(
        operation
        for index, item in enumerate(listed)
        for operation in _parse_operation(resource_type, item, f"Operations[{index}]", reading)
    )
    unknown = [o.path for o in operations if isinstance(o.path, UnknownPath) and o.path.explicit]
    if unknown and not _deactivates(operations):
        raise InvalidPath(f"{unknown[0].text}: no schema knows this attribute")
    return operations


def apply_patch(
    resource_type: ResourceType,
    document: dict[str, Any],
    operations: Iterable[Operation],
    *,
    limits: Limits = DEFAULT_LIMITS,
) -> Patched:
    """Apply all the operations in their order, or raise and apply none.

    `document` is one that `parse_resource` or this function made, and is never changed. What is
    touched was checked like a POST body; what is not is kept, so that a user whose old data a
    stricter limit would refuse today can still be deactivated.
    """
    draft = Draft(resource_type, document, limits)
    ignored: dict[str, None] = {}
    secret: str | None = None
    for operation in operations:
        ignored |= dict.fromkeys(operation.ignored)
        if operation.secret is not None:
            secret = operation.secret
        elif operation.members is not None:
            draft.members.record(operation.members)
        elif isinstance(operation.path, SchemaPath):
            draft.remove_extension(operation.path.schema)
        elif isinstance(operation.path, PatchPath):
            draft.change(operation.op, operation.path, operation.value)
    members = draft.members.change() if draft.members.touched else None
    document = draft.finished()
    return Patched(document, members, tuple(ignored), secret, frozenset(draft.quirks))


def _deactivates(operations: tuple[Operation, ...]) -> bool:
    """Whether the resource is inactive after the operations because of them."""
    active = [
        operation.op != "remove" and operation.value is False
        for operation in operations
        if isinstance(operation.path, PatchPath)
        and operation.path.schema is None
        and operation.path.attribute.name == "active"
    ]
    return active[-1:] == [True]


# --- one operation ----------------------------------------------------------------------------


def _parse_operation(
    resource_type: ResourceType, item: object, where: str, reading: Reading
) -> Iterator[Operation]:
    if not isinstance(item, dict):
        raise InvalidSyntax(f"{where}: must be an object")
    op = _op(item, where, reading)
    text, value = _member(item, "path"), _member(item, "value")
    if text is None or (text == "" and isinstance(value, dict)):
        if op == "remove":
            raise NoTarget(f"{where}.path: is required to remove")
        yield from _without_path(resource_type, op, value, f"{where}.value", reading)
        return
    if not isinstance(text, str):
        raise InvalidPath(f"{where}.path: must be a string")
    path = parse_path(resource_type, text, limits=reading.limits, quirks=reading.quirks)
    if isinstance(path, SchemaPath) and op != "remove":
        of_schema = _of_schema(resource_type, op, path, value, reading)
        yield from (operation for operation in of_schema if operation is not None)
        return
    _refuse_read_only(resource_type, op, path)
    by_filter = isinstance(path, PatchPath) and path.attribute.separate and path.filter is not None
    if op != "remove" and not by_filter and "value" not in map(str.lower, item):
        raise InvalidValue(f"{where}.value: is required to {op}")
    yield _operation(op, path, value, reading)


def _op(item: dict[str, Any], where: str, reading: Reading) -> Op:
    op = _member(item, "op")
    if isinstance(op, str) and op.lower() in {"add", "replace", "remove"}:
        if op != op.lower():
            reading.quirks.add(Quirk.OP_IN_CAPITALS)
        return cast("Op", op.lower())
    raise InvalidSyntax(f"{where}.op: must be add, replace or remove")


def _refuse_read_only(
    resource_type: ResourceType, op: Op, path: PatchPath | SchemaPath | UnknownPath
) -> None:
    if isinstance(path, SchemaPath) and path.schema is resource_type.schema:
        raise Mutability(f"{path.schema.id}: holds attributes that are required")
    if not isinstance(path, PatchPath):
        return
    if _is_read_only(path):
        raise Mutability(f"{path}: is read-only")
    if op == "remove" and path.leaf.required and path.filter is None:
        raise Mutability(f"{path}: is required and can't be removed")


def _is_read_only(path: PatchPath) -> bool:
    return "readOnly" in {path.attribute.mutability, path.leaf.mutability}


def _operation(
    op: Op, path: PatchPath | SchemaPath | UnknownPath, value: object, reading: Reading
) -> Operation:
    if isinstance(path, UnknownPath):
        reading.quirks.add(
            Quirk.UNKNOWN_PATH_LEFT_OUT if path.explicit else Quirk.UNKNOWN_ATTRIBUTE
        )
        return Operation(op, path, ignored=(path.text,))
    if isinstance(path, SchemaPath):
        return Operation(op, path)
    if path.attribute.separate:
        return Operation(op, path, members=_member_change(op, path, value, reading))
    own = Reading(reading.limits, reading.quirks)
    canonical = _read_value(op, path, value, own)
    if path.attribute.mutability == "writeOnly":
        # Checked, and carried apart from the document, which never has it.
        if canonical is None and op == "add":
            return Operation(op, path)
        return Operation(op, path, secret=canonical if isinstance(canonical, str) else NO_PASSWORD)
    return Operation(op, path, canonical, ignored=tuple(own.ignored))


def _read_value(op: Op, path: PatchPath, value: object, reading: Reading) -> Any:
    """Return the canonical value for the place that the path names."""
    attribute, where = path.attribute, str(path)
    if value is None:
        return None
    if op == "remove":
        # Entra ID removes by a list of values; a path that chooses for itself needs no value.
        if path.filter is not None or path.sub is not None or not attribute.multi_valued:
            return None
        reading.quirks.add(Quirk.REMOVE_BY_VALUE)
        return read_attribute(attribute, value, where, reading) or []
    if path.sub is not None:
        inner = value if path.sub.multi_valued else _single(path.sub, value, reading)
        return read_attribute(path.sub, inner, where, reading)
    if path.filter is None and attribute.multi_valued:
        return read_attribute(attribute, value, where, reading)
    if value == []:
        return None
    value = _single(attribute, value, reading)
    if value is None:
        return None
    if attribute.type != "complex" or not isinstance(value, dict):
        return read_one(attribute, value, where, reading)
    removed = {
        sub.name: None
        for name, item in value.items()
        if item in (None, []) and (sub := attribute.sub(name)) and sub.mutability != "readOnly"
    }
    return removed | (read_one(attribute, value, where, reading) or {})


_WRAPPING = frozenset({"value", "$ref"})


def _single(attribute: Attribute, value: object, reading: Reading) -> object:
    """Return the value of an attribute that has one, taken out of a list or an object around it.

    Entra ID has sent `[{"$ref": null, "value": "False"}]` for `active`, and lists for `manager`.
    """
    inner = value
    if isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    if attribute.type != "complex" and isinstance(inner, dict):
        keys = {name.lower(): name for name in inner}
        if "value" in keys and keys.keys() <= _WRAPPING:
            inner = inner[keys["value"]]
    if inner is not value:
        reading.quirks.add(Quirk.WRAPPED_VALUE)
    return inner


# --- operations without a path ----------------------------------------------------------------


def _without_path(
    resource_type: ResourceType, op: Op, value: object, where: str, reading: Reading
) -> list[Operation]:
    """Each key of the value is a path: also dotted and URN paths (Entra ID), also with a filter.

    Read-only attributes are left out, since Okta sends a group's `id` along with its new name.
    A plain name that no schema knows is left out as in a POST body; but where nothing else is
    there, the operation would do nothing, and its names count as paths.
    """
    if not isinstance(value, dict):
        raise InvalidValue(f"{where}: must be an object where there is no path")
    found = list(_members_of(resource_type, op, "", value, reading))
    operations = [operation for operation in found if operation is not None]
    if found and all(o is not None and isinstance(o.path, UnknownPath) for o in found):
        return [_explicit(operation) for operation in operations]
    return operations


def _members_of(
    resource_type: ResourceType, op: Op, prefix: str, value: dict[str, Any], reading: Reading
) -> Iterator[Operation | None]:
    """Yield each key's operation, None for a read-only attribute. `prefix`: a URN and a colon."""
    for name, item in value.items():
        path = _key_path(resource_type, prefix, name, item, reading)
        if isinstance(path, SchemaPath):
            yield from _of_schema(resource_type, op, path, item, reading)
        elif isinstance(path, PatchPath) and _is_read_only(path):
            reading.quirks.add(Quirk.READ_ONLY_IN_PATCH)
            yield None
        else:
            if isinstance(path, PatchPath) and not NAME.fullmatch(name):
                reading.quirks.add(Quirk.PATH_AS_KEY)
            yield _operation(op, path, item, reading)


def _of_schema(
    resource_type: ResourceType, op: Op, path: SchemaPath, value: object, reading: Reading
) -> Iterator[Operation | None]:
    """Yield the operations for the attributes of a schema; null takes an extension away."""
    if value is None and path.schema is not resource_type.schema:
        yield Operation("remove", path) if op == "replace" else None
        return
    if not isinstance(value, dict):
        raise InvalidValue(f"{path.schema.id}: must be an object")
    yield from _members_of(resource_type, op, f"{path.schema.id}:", value, reading)


def _key_path(
    resource_type: ResourceType, prefix: str, name: str, item: object, reading: Reading
) -> PatchPath | SchemaPath | UnknownPath:
    text = prefix + name
    if "[" not in name and not is_well_formed(text):
        return UnknownPath(shown(text), explicit=False)
    path = parse_path(resource_type, text, limits=reading.limits, quirks=reading.quirks)
    if not isinstance(path, UnknownPath):
        return path
    # A foreign extension stands in a resource as an object under its URN (RFC 7643 §3.3).
    extension = ":" in name and isinstance(item, dict)
    return UnknownPath(path.text, explicit=not extension and ("." in name or ":" in name))


def _explicit(operation: Operation) -> Operation:
    path = cast("UnknownPath", operation.path)
    return replace(operation, path=replace(path, explicit=True))


# --- members of groups ------------------------------------------------------------------------


def _member_change(op: Op, path: PatchPath, value: object, reading: Reading) -> MemberChange:
    """Return what an operation on `members` does, whoever is in the group.

    Entra ID removes by a list of values: only these go. No value takes all. A filter may name
    members by their `value` only; `add` through one adds the member it names. A member's own parts
    are immutable (RFC 7643 §4.2).
    """
    attribute = path.attribute
    if path.sub is not None:
        raise Mutability(f"{path}: a member can be added and removed, but not changed")
    if path.filter is not None:
        named = read_member_ids(attribute, _named_members(path.filter), str(path), reading.limits)
        if op == "remove" or (op == "replace" and value is None):
            return MemberChange(remove=named)
        if _has_value(value):
            others = read_member_ids(attribute, value, str(path), reading.limits)
            if not set(others) <= set(named):
                raise Mutability(f"{path}: a member can't become another one")
        reading.quirks.add(Quirk.ADD_BY_FILTER)
        return MemberChange(add=named)
    if value is None:
        return MemberChange(add=()) if op == "add" else MemberChange(replace=())
    ids = read_member_ids(attribute, value, str(path), reading.limits)
    match op:
        case "add":
            return MemberChange(add=ids)
        case "replace":
            return MemberChange(replace=ids)
        case _:
            reading.quirks.add(Quirk.REMOVE_BY_VALUE)
            return MemberChange(remove=ids)


def _named_members(filter_: Filter) -> list[object]:
    """Return the ids of `value eq "1" or value eq "2" …`."""
    terms = filter_.filters if isinstance(filter_, Or) else (filter_,)
    ids: list[object] = []
    for term in terms:
        match term:
            case Comparison(path, "eq", str(member)) if path.attribute.name == "value":
                ids.append(member)
            case _:
                raise InvalidFilter('members: can be chosen by [value eq "id"] only')
    return ids


def _has_value(value: object) -> bool:
    """Whether what is sent to `members[value eq "id"]` names members itself."""
    if isinstance(value, dict):
        return any(name.lower() == "value" for name in value)
    return value is not None


def _member(item: dict[str, Any], key: str) -> Any:
    """Return the member of that name, in any case."""
    return next((value for name, value in item.items() if name.lower() == key), None)
