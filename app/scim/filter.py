"""Filters (RFC 7644 §3.4.2.2): parsed against a resource type, rendered, matched with documents.

A multi-valued attribute matches if any of its values does; an attribute without a value counts as
one null, so that `ne "x"` and `eq null` match it and every other comparison doesn't. Text is
compared under `fold` unless the attribute is caseExact: the same rule that the indexes follow.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final, Literal, NoReturn, assert_never, cast

from app.errors import InvalidFilter
from app.scim.attribute import Attribute, ResourceType
from app.scim.limits import DEFAULT_LIMITS, Limits
from app.scim.paths import AttributePath, is_well_formed, resolve, shown
from app.scim.quirks import Quirk
from app.scim.text import fold

Operator = Literal["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"]
Value = str | bool | int | float | None

OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "co": operator.contains,
    "sw": str.startswith,
    "ew": str.endswith,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
TEXT_ONLY = frozenset({"co", "sw", "ew"})
ORDER = frozenset({"gt", "ge", "lt", "le"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; `value` has the attribute's type, or is None for `null`.

    A complex attribute is compared by its `value` (§3.4.2.2), which `path` then names.
    """

    path: AttributePath
    operator: Operator
    value: Value
    _operand: Any = field(init=False, repr=False, compare=False)
    _read: Callable[[object], Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        read = _reader(self.path.leaf, self.operator)
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_operand", None if self.value is None else read(self.value))

    def holds(self, value: object) -> bool:
        """Whether one value of the attribute, None for an absent one, fulfils it."""
        actual = None if value is None else self._read(value)
        if actual is None or self._operand is None:
            same = actual is None and self._operand is None
            return same if self.operator == "eq" else not same and self.operator == "ne"
        return OPERATORS[self.operator](actual, self._operand)


@dataclass(frozen=True, slots=True)
class Present:
    """`path pr`: there is a value, and it is not empty."""

    path: AttributePath


@dataclass(frozen=True, slots=True)
class And:
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    filters: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    filter: Filter


@dataclass(frozen=True, slots=True)
class ValuePath:
    """`path[filter]`: one and the same value of the attribute fulfils the whole filter."""

    path: AttributePath
    filter: Filter


Filter = Comparison | Present | And | Or | Not | ValuePath


class UnknownAttribute(InvalidFilter):
    """The filter is well-formed, but names an attribute that no schema knows."""


def comparable(attribute: Attribute) -> Callable[[object], Any]:
    """Return what makes values of the attribute comparable with one another."""
    return _reader(attribute, "gt")


def parse_filter_of_several(
    resource_type: ResourceType,
    text: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    quirks: set[Quirk] | None = None,
) -> tuple[Filter, bool]:
    """Return the filter, and whether this type knows all its attributes.

    In a query over several types an attribute that one of them lacks has no value there (RFC 7644
    §3.4.2.1). `quirks` as in `parse_filter`.
    """
    parser = FilterParser(resource_type, text, limits, quirks)
    parsed = parser.expression(None, 0)
    parser.end()
    return parsed, not parser.unknown


def parse_filter(
    resource_type: ResourceType,
    text: str,
    *,
    limits: Limits = DEFAULT_LIMITS,
    quirks: set[Quirk] | None = None,
) -> Filter:
    """Return the filter that `text` holds, or raise InvalidFilter that tells where it is wrong.

    More is taken than the grammar allows, since clients send it: operators and names in any case,
    `emails[type eq "work"].value eq "x"` (Entra ID), and without quotes a value that is one token
    where the attribute is a string (authentik). An unknown attribute is an error and never an
    empty result: a client that finds nobody creates a duplicate. `quirks`: where it is given, gets
    what the filter has beside the grammar.
    """
    parser = FilterParser(resource_type, text, limits, quirks)
    parsed = parser.expression(None, 0)
    parser.end()
    parser.refuse_unknown()
    return parsed


def render(filter_: Filter) -> str:
    """Return the text of a filter; parsing it gives an equal one."""
    match filter_:
        case Comparison(path, operator_, value):
            return f"{path} {operator_} {json.dumps(value, ensure_ascii=False)}"
        case Present(path):
            return f"{path} pr"
        case And(filters):
            return " and ".join(
                f"({render(f)})" if isinstance(f, Or) else render(f) for f in filters
            )
        case Or(filters):
            return " or ".join(map(render, filters))
        case Not(inner):
            return f"not ({render(inner)})"
        case ValuePath(path, inner):
            return f"{path}[{render(inner)}]"
        case _:
            assert_never(filter_)


def matches(filter_: Filter, document: Mapping[str, Any]) -> bool:
    """Whether a document with canonical names fulfils the filter.

    `id`, `meta`, `groups` and `members` are read where the document has them.
    """
    match filter_:
        case Comparison(path):
            return any(map(filter_.holds, _values(path, document)))
        case And(filters):
            return all(matches(f, document) for f in filters)
        case Or(filters):
            return any(matches(f, document) for f in filters)
        case Not(inner):
            return not matches(inner, document)
        case Present(path):
            return any(_is_present(value) for value in _values(path, document))
        case ValuePath(path, inner):
            elements = (_element(v) for v in _values(path, document) if v is not None)
            return any(matches(inner, element) for element in elements)
        case _:
            assert_never(filter_)


def matches_value(filter_: Filter, value: object) -> bool:
    """Whether one value of a multi-valued attribute fulfils the filter of a value path."""
    return matches(filter_, _element(value))


def equality(filter_: Filter) -> tuple[str, str] | None:
    """Return the attribute and the value of a filter that is one look-up in an index, else None.

    The attributes are those the directory has an index for: `id`, `externalId`, a user's
    `userName`, a group's `displayName`.
    """
    match filter_:
        case Comparison(AttributePath(None, attribute, None), "eq", str(value)) if (
            attribute.indexed
        ):
            return attribute.name, value
        case _:
            return None


def anchors(filter_: Filter) -> tuple[tuple[str, str], ...] | None:
    """Return index look-ups that find every match, and maybe more: `id eq "1" and manager pr`.

    What is found has still to be checked with `matches`. None: only a scan finds all.
    """
    match filter_:
        case And(filters):
            found = [each for each in map(anchors, filters) if each is not None]
            return min(found, key=len, default=None)
        case Or(filters):
            of_each = [anchors(one) for one in filters]
            known = [each for each in of_each if each is not None]
            return tuple(chain(*known)) if len(known) == len(of_each) else None
        case _:
            one = equality(filter_)
            return None if one is None else (one,)


def attributes_of(filter_: Filter) -> frozenset[str]:
    """Return the names of the attributes that `matches` reads.

    So a caller loads members and groups only where a filter asks for them.
    """
    match filter_:
        case Comparison(path) | Present(path) | ValuePath(path):
            return frozenset({path.attribute.name})
        case And(filters) | Or(filters):
            return frozenset().union(*map(attributes_of, filters))
        case Not(inner):
            return attributes_of(inner)
        case _:
            assert_never(filter_)


def schemas_of_filter(filter_: Filter) -> frozenset[str]:
    """Return the URNs of the extensions whose attributes `matches` reads."""
    match filter_:
        case Comparison(path) | Present(path) | ValuePath(path):
            return frozenset() if path.schema is None else frozenset({path.schema.id})
        case And(filters) | Or(filters):
            return frozenset().union(*map(schemas_of_filter, filters))
        case Not(inner):
            return schemas_of_filter(inner)
        case _:
            assert_never(filter_)


def conjunction(*filters: Filter) -> Filter:
    """Return `a and b and …` without nesting an And in another."""
    flat = tuple(_flat(And, filters))
    return flat[0] if len(flat) == 1 else And(flat)


def disjunction(*filters: Filter) -> Filter:
    """Return `a or b or …` without nesting an Or in another."""
    flat = tuple(_flat(Or, filters))
    return flat[0] if len(flat) == 1 else Or(flat)


def _flat(kind: type[And | Or], filters: tuple[Filter, ...]) -> Iterator[Filter]:
    for filter_ in filters:
        if isinstance(filter_, kind):
            yield from filter_.filters
        else:
            yield filter_


# --- matching ---------------------------------------------------------------------------------


def _values(path: AttributePath, document: Mapping[str, Any]) -> list[Any]:
    """Return the values at the path, None for a missing one; never an empty list."""
    container: Any = document if path.schema is None else document.get(path.schema.id)
    value = container.get(path.attribute.name) if isinstance(container, Mapping) else None
    values = value if isinstance(value, list) else [value]
    if path.sub is not None:
        name = path.sub.name
        values = [v.get(name) if isinstance(v, Mapping) else None for v in values]
    return values or [None]


def _element(value: object) -> Mapping[str, Any]:
    """Return a value as what the filter of a value path reads; a simple one is its `value`."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {"value": value}


def _is_present(value: object) -> bool:
    """Whether it counts for `pr`: has a value, or is non-empty where it is complex."""
    return value is not None and value not in ("", {})


def _reader(attribute: Attribute, operator_: str) -> Callable[[object], Any]:
    """Return what makes a value comparable: None for one that has not the attribute's type."""
    match attribute.type:
        case "boolean":
            return _as_boolean
        case "integer" | "decimal":
            return _as_number
        case "dateTime" if operator_ not in TEXT_ONLY:
            return _as_instant
        case _:
            return _as_text if attribute.case_exact else _as_folded


def _as_boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _as_number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _as_text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _as_folded(value: object) -> str | None:
    return fold(value) if isinstance(value, str) else None


def _as_instant(value: object) -> float | None:
    """Return seconds since 1970; a time without a zone is taken as UTC (RFC 7643 §2.3.5)."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# --- parsing ----------------------------------------------------------------------------------

_SPACE = re.compile(r"[ \t]*")
_PATH = re.compile(r"[A-Za-z$][^\s\[\]()\"]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*"')
_TOKEN = re.compile(r'[^\s\[\]()"]+')
_OTHER_QUOTES = "'\N{LEFT DOUBLE QUOTATION MARK}"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

# Stands in where no schema knows the name, so that the rest can still be found malformed.
_UNKNOWN = Attribute(name="unknown")


class FilterParser:
    """Reads a filter from left to right; `position` counts characters from 0.

    PATCH paths are read with it too. Unknown attributes are noted and refused at the end
    (`refuse_unknown`), so that a filter which is malformed as well is always called malformed.
    """

    def __init__(
        self,
        resource_type: ResourceType,
        text: str,
        limits: Limits,
        quirks: set[Quirk] | None = None,
    ) -> None:
        self.text, self.position = text, 0
        self.quirks: set[Quirk] = set() if quirks is None else quirks
        self.unknown: list[str] = []
        self._resource_type, self._limits = resource_type, limits
        if len(text) > limits.max_filter_length:
            raise InvalidFilter(f"filter: longer than {limits.max_filter_length} characters")

    def fail(self, reason: str) -> NoReturn:
        raise InvalidFilter(f"filter: {reason} at position {self.position}")

    def refuse_unknown(self) -> None:
        if self.unknown:
            raise UnknownAttribute(f"filter: no schema knows the attribute {self.unknown[0]}")

    def end(self) -> None:
        """Raise if anything but white space is left."""
        self._skip()
        if self.position < len(self.text):
            self.fail("expected `and`, `or` or the end")

    def expression(self, scope: Attribute | None, depth: int) -> Filter:
        """Read filters joined by `and`, which binds tighter, and `or`.

        `scope`: inside the brackets of a value path, the attribute before them.
        """
        if depth > self._limits.max_filter_depth:
            self.fail(f"nested deeper than {self._limits.max_filter_depth}")
        terms = [self._conjunction(scope, depth)]
        while self._word("or"):
            terms.append(self._conjunction(scope, depth))
        return disjunction(*terms)

    def attribute_path(self, scope: Attribute | None = None) -> AttributePath:
        """Read a path; one that no schema knows is noted in `unknown`."""
        self._skip()
        found = _PATH.match(self.text, self.position)
        if found is None or not is_well_formed(found[0]):
            self.fail("expected an attribute")
        self.position = found.end()
        path = _resolve_in(scope, found[0]) if scope else resolve(self._resource_type, found[0])
        if path is not None:
            self._note(path, found[0])
        if path is None or scope is _UNKNOWN:
            self.unknown.append(shown(found[0]))
            return AttributePath(None, _UNKNOWN)
        return path

    def _note(self, path: AttributePath, written: str) -> None:
        urn, _, rest = written.rpartition(":")
        if path.schema is not None and not urn:
            self.quirks.add(Quirk.EXTENSION_WITHOUT_URN)
        if rest.partition(".")[0].lower() in path.attribute.alias_keys:
            self.quirks.add(Quirk.OTHER_NAME)

    def brackets(self, attribute: Attribute, depth: int) -> Filter:
        """Read `[filter]`; the opening bracket is next."""
        self.take("[")
        inner = self.expression(attribute, depth + 1)
        if not self.take("]"):
            self.fail("expected `]`")
        return inner

    def take(self, character: str) -> bool:
        """Step over `character` if it comes next, after white space."""
        self._skip()
        if not self.text.startswith(character, self.position):
            return False
        self.position += 1
        return True

    def at(self, character: str) -> bool:
        return self.text.startswith(character, self.position)

    def _conjunction(self, scope: Attribute | None, depth: int) -> Filter:
        terms = [self._factor(scope, depth)]
        while self._word("and"):
            terms.append(self._factor(scope, depth))
        return conjunction(*terms)

    def _factor(self, scope: Attribute | None, depth: int) -> Filter:
        start = self.position
        if self._word("not"):
            if self.take("("):
                return Not(self._parenthesis(scope, depth))
            self.position = start
        if self.take("("):
            return self._parenthesis(scope, depth)
        path = self.attribute_path(scope)
        if scope is None and self.at("["):
            return self._value_path(path, depth)
        return self._attribute_expression(path)

    def _parenthesis(self, scope: Attribute | None, depth: int) -> Filter:
        inner = self.expression(scope, depth + 1)
        if not self.take(")"):
            self.fail("expected `)`")
        return inner

    def _value_path(self, path: AttributePath, depth: int) -> Filter:
        if path.sub is not None:
            self.fail("a sub-attribute has no values to choose from")
        inner = self.brackets(path.attribute, depth)
        if not self.at("."):
            return ValuePath(path, inner)
        # Not in the grammar, but Entra ID looks users up so: emails[type eq "work"].value eq "x".
        self.position += 1
        self.quirks.add(Quirk.COMPARED_AFTER_BRACKETS)
        sub = self.attribute_path(path.attribute)
        return ValuePath(path, conjunction(inner, self._attribute_expression(sub)))

    def _attribute_expression(self, path: AttributePath) -> Filter:
        self._gap()
        found = _TOKEN.match(self.text, self.position)
        name = found[0].lower() if found else ""
        if name == "pr":
            self.position += 2
            return Present(path)
        if name not in OPERATORS:
            self.fail(f"expected an operator after {path}")
        self.position += 2
        self._gap()
        return self._comparison(path, cast("Operator", name))

    def _comparison(self, path: AttributePath, operator_: Operator) -> Filter:
        leaf = path.leaf
        if leaf.type == "complex":
            value = leaf.sub("value")
            if value is None:
                self.fail(f"{path} has no value to compare; name a sub-attribute")
            path = replace(path, sub=value)
        start = self.position
        return Comparison(path, operator_, self._value(path.leaf, operator_, start))

    def _value(self, attribute: Attribute, operator_: str, start: int) -> Value:
        if string := _STRING.match(self.text, start):
            self.position = string.end()
            raw: object = json.loads(string[0])
            quoted = True
        elif token := _TOKEN.match(self.text, start):
            self.position = token.end()
            raw, quoted = token[0], False
            if token[0][0] in _OTHER_QUOTES:  # else the look-up would find nobody, and be believed
                self.position = start
                self.fail('expected a value in "double quotes"')
        else:
            self.fail("expected a value")
        try:
            value = _typed(attribute, operator_, cast("str", raw), quoted=quoted)
        except ValueError as problem:
            self.position = start
            self.fail(f"{attribute.name} {operator_}: {problem}")
        if isinstance(value, str) and not quoted:
            self.quirks.add(Quirk.VALUE_WITHOUT_QUOTES)
        elif isinstance(value, bool) and quoted:
            self.quirks.add(Quirk.QUOTED_BOOLEAN)
        return value

    def _word(self, word: str) -> bool:
        """Step over `word` if it comes next, in any case, and is not part of a longer one."""
        self._skip()
        found = _TOKEN.match(self.text, self.position)
        if found is None or found[0].lower() != word:
            return False
        self.position = found.end()
        return True

    def _skip(self) -> None:
        self.position = cast("re.Match[str]", _SPACE.match(self.text, self.position)).end()

    def _gap(self) -> None:
        """Step over white space, which has to be there."""
        before = self.position
        self._skip()
        if self.position == before:
            self.fail("expected a space")


def _resolve_in(scope: Attribute, name: str) -> AttributePath | None:
    """Return the path of a sub-attribute; a simple attribute's values are called `value`."""
    sub = scope.sub(name)
    if sub is None and scope.type != "complex" and name.lower() == "value":
        sub = replace(scope, name="value", multi_valued=False)
    return None if sub is None else AttributePath(None, sub)


def _typed(attribute: Attribute, operator_: str, raw: str, *, quoted: bool) -> Value:
    """Return the value that `raw` stands for under the attribute's type, or raise ValueError."""
    if not raw.isascii():
        raw.encode()  # UnicodeEncodeError, a ValueError: half a character
    if not quoted and raw.lower() == "null":
        if operator_ not in {"eq", "ne"}:
            raise ValueError("null can only be compared with eq and ne")
        return None
    match attribute.type:
        case "boolean":
            if operator_ not in {"eq", "ne"}:
                raise ValueError("a boolean can only be compared with eq and ne")
            if raw.lower() not in {"true", "false"}:
                raise ValueError("expected true or false")
            return raw.lower() == "true"  # also quoted: Entra ID sends [primary eq "True"]
        case "integer" | "decimal":
            return _number(operator_, raw, quoted=quoted)
        case "binary" if operator_ in ORDER:
            raise ValueError("a binary value has no order")
        case "dateTime" if operator_ not in TEXT_ONLY and _as_instant(raw) is None:
            raise ValueError("expected a date and time such as 2026-01-31T09:30:00Z")
        case _:
            return raw


def _number(operator_: str, raw: str, *, quoted: bool) -> int | float:
    if operator_ in TEXT_ONLY:
        raise ValueError("a number has no text to search")
    if quoted or not _NUMBER.fullmatch(raw):
        raise ValueError("expected a number")
    number: int | float = json.loads(raw)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number
