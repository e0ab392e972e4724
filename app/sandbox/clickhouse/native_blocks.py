"""How long a Native block is: what ClickHouse's serialisations put on the wire, type by type.

A block that a client sends has no length of its own; its end is found by walking its columns
(`src/Formats/NativeReader.cpp`, `src/DataTypes/Serializations`). Nothing is decoded: the bytes go
on to the engine as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.tokens import Kind, Token, parse_tokens


class Source(Protocol):
    """Bytes that arrive over time. Each call waits until it has what it was asked for."""

    def skip(self, size: int) -> None: ...
    def skip_texts(self, count: int) -> None: ...
    def fixed(self, size: int) -> bytes: ...
    def word(self) -> int: ...
    def last_word(self, count: int) -> int: ...
    def varint(self) -> int: ...
    def text(self) -> str: ...


class Layout(Protocol):
    def prefix(self, source: Source) -> Layout:
        """Read past what stands once before the column's data; return how that data lies."""

    def data(self, source: Source, rows: int) -> None:
        """Read past the values of `rows` rows."""


@dataclass(frozen=True, slots=True)
class Fixed:
    size: int

    def prefix(self, source: Source) -> Layout:  # noqa: ARG002  it has none
        return self

    def data(self, source: Source, rows: int) -> None:
        source.skip(self.size * rows)


@dataclass(frozen=True, slots=True)
class Texts:
    def prefix(self, source: Source) -> Layout:  # noqa: ARG002
        return self

    def data(self, source: Source, rows: int) -> None:
        source.skip_texts(rows)


@dataclass(frozen=True, slots=True)
class Nullable:
    inner: Layout

    def prefix(self, source: Source) -> Layout:
        return Nullable(self.inner.prefix(source))

    def data(self, source: Source, rows: int) -> None:
        source.skip(rows)  # a byte each: is it NULL
        self.inner.data(source, rows)


@dataclass(frozen=True, slots=True)
class Array:
    inner: Layout

    def prefix(self, source: Source) -> Layout:
        return Array(self.inner.prefix(source))

    def data(self, source: Source, rows: int) -> None:
        if rows:  # an end offset for each row: the last one is the number of elements
            self.inner.data(source, source.last_word(rows))


@dataclass(frozen=True, slots=True)
class Tuple:
    inner: tuple[Layout, ...]

    def prefix(self, source: Source) -> Layout:
        return Tuple(tuple([layout.prefix(source) for layout in self.inner]))

    def data(self, source: Source, rows: int) -> None:
        for layout in self.inner:
            layout.data(source, rows)


@dataclass(frozen=True, slots=True)
class LowCardinality:
    """A dictionary and indexes into it. NULL is the dictionary's first entry, not a mask."""

    keys: Layout

    def prefix(self, source: Source) -> Layout:
        source.skip(8)  # version of the serialisation of keys
        return self

    def data(self, source: Source, rows: int) -> None:
        if rows:
            flags = source.word()
            self.keys.data(source, source.word())
            source.skip((1 << (flags & 0xFF)) * source.word())


@dataclass(frozen=True, slots=True)
class Variant:
    """Which type each row has, a byte each (255: NULL), then the values of each type.

    `inner`: in the order of the types' names.
    """

    inner: tuple[Layout, ...]

    def prefix(self, source: Source) -> Layout:
        if source.word() != 0:  # the plain form, which a server sends and a client too
            raise _cannot_take("a compact Variant")
        return Variant(tuple([layout.prefix(source) for layout in self.inner]))

    def data(self, source: Source, rows: int) -> None:
        kinds = source.fixed(rows)
        for kind, layout in enumerate(self.inner):
            layout.data(source, kinds.count(kind))


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A Variant whose types are told before the data; rarer ones are texts of a type of its own."""

    def prefix(self, source: Source) -> Layout:
        version = source.word()
        if version not in {1, 2}:
            raise _cannot_take(f"Dynamic, version {version}")
        if version == 1:
            source.varint()  # how many types there may be
        types: dict[str, Layout] = {_SHARED: STRING}
        for _ in range(source.varint()):
            name = source.text()
            types[name] = layout_of(name)
        return Variant(tuple(types[name] for name in sorted(types))).prefix(source)

    def data(self, source: Source, rows: int) -> None:
        raise NotImplementedError  # the layout that `prefix` has returned has the data


@dataclass(frozen=True, slots=True)
class Json:
    """Paths as columns: `typed` ones, those of which the data tells, and rarer ones together."""

    typed: tuple[Layout, ...]

    def prefix(self, source: Source) -> Layout:
        version = source.word()
        if version == 1:  # as text
            return STRING
        if version not in {0, 2}:
            raise _cannot_take(f"JSON, version {version}")
        if version == 0:
            source.varint()  # how many paths there may be
        paths = source.varint()
        for _ in range(paths):
            source.text()
        typed = [layout.prefix(source) for layout in self.typed]
        told = [Dynamic().prefix(source) for _ in range(paths)]
        return Tuple((*typed, *told, Array(Tuple((STRING, STRING)))))

    def data(self, source: Source, rows: int) -> None:
        raise NotImplementedError  # as for Dynamic


STRING = Texts()
_POINT = Tuple((Fixed(8), Fixed(8)))
_SHARED = "SharedVariant"


_SIZES = {
    name: size
    for size, names in {
        1: "Int8 UInt8 Bool Enum8 Nothing",
        2: "Int16 UInt16 Enum16 BFloat16 Date",
        4: "Int32 UInt32 Float32 Date32 DateTime Time IPv4 Decimal32",
        8: "Int64 UInt64 Float64 DateTime64 Time64 Decimal64",
        16: "Int128 UInt128 UUID IPv6 Decimal128",
        32: "Int256 UInt256 Decimal256",
    }.items()
    for name in names.split()
}
_NOT_IMPLEMENTED = 48
_DECIMALS = ((9, 4), (18, 8), (38, 16), (76, 32))  # precision up to, bytes


@lru_cache(maxsize=1024)
def layout_of(type_name: str) -> Layout:
    """Return how columns of a type lie on the wire. Raises ServerError 48 for those not known."""
    return _layout(parse_tokens(type_name), type_name)


def _layout(tokens: Sequence[Token], type_name: str) -> Layout:
    name = tokens[0].raw if tokens else ""
    arguments = _arguments(tokens[2:-1])
    if name in _SIZES:
        return Fixed(_SIZES[name])
    if name.startswith("Interval"):
        return Fixed(8)
    match name:
        case "String":
            return STRING
        case "FixedString":
            return Fixed(int(arguments[0][0].value))
        case "Decimal":
            precision = int(arguments[0][0].value)
            return Fixed(next(size for limit, size in _DECIMALS if precision <= limit))
        case "Nullable":
            return Nullable(_layout(arguments[0], type_name))
        case "Array":
            return Array(_layout(arguments[0], type_name))
        case "Tuple" if not arguments:
            return Fixed(1)
        case "Tuple":
            return Tuple(tuple(_layout(_unnamed(part), type_name) for part in arguments))
        case "Map":
            return Array(Tuple(tuple(_layout(part, type_name) for part in arguments)))
        case "Nested":
            return Array(Tuple(tuple(_layout(_unnamed(part), type_name) for part in arguments)))
        case "SimpleAggregateFunction":
            return _layout(arguments[1], type_name)
        case "LowCardinality":
            inner = arguments[0]
            if inner[0].raw == "Nullable":
                inner = inner[2:-1]
            return LowCardinality(_layout(inner, type_name))
        case "Variant":
            return Variant(tuple(_layout(part, type_name) for part in arguments))
        case "Dynamic":
            return Dynamic()
        case "JSON":
            return Json(_typed_paths(arguments, type_name))
        case "Point":
            return _POINT
        case "Ring" | "LineString":
            return Array(_POINT)
        case "Polygon" | "MultiLineString":
            return Array(Array(_POINT))
        case "MultiPolygon":
            return Array(Array(Array(_POINT)))
        case _:
            raise _cannot_take(type_name)


def _cannot_take(type_name: str) -> ServerError:
    return ServerError(
        _NOT_IMPLEMENTED,
        f"DB::Exception: the sandbox cannot take blocks with a column of {type_name}",
    )


def _typed_paths(arguments: Sequence[Sequence[Token]], type_name: str) -> tuple[Layout, ...]:
    """Return the layouts of `path Type` arguments, in the order of the paths."""
    typed = {}
    for part in arguments:
        if part[0].is_word("SKIP") or (len(part) > 1 and part[1].is_sign("=")):
            continue
        end = 1
        while end + 1 < len(part) and part[end].is_sign("."):
            end += 2
        words = (token.value if token.kind is Kind.NAME else token.raw for token in part[:end])
        typed["".join(words)] = _layout(part[end:], type_name)
    return tuple(typed[path] for path in sorted(typed))


def _arguments(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    """Split what stands between a type's parentheses at its own commas."""
    parts: list[Sequence[Token]] = []
    depth = start = 0
    for i, token in enumerate(tokens):
        if token.is_sign("("):
            depth += 1
        elif token.is_sign(")"):
            depth -= 1
        elif depth == 0 and token.is_sign(","):
            parts.append(tokens[start:i])
            start = i + 1
    if tokens:
        parts.append(tokens[start:])
    return parts


def _unnamed(tokens: Sequence[Token]) -> Sequence[Token]:
    """Return the type of a tuple's element, which may have a name before it."""
    named = len(tokens) > 1 and tokens[1].kind in {Kind.WORD, Kind.NAME}
    return tokens[1:] if named else tokens
