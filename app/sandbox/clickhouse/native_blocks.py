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

    async def skip(self, size: int) -> None: ...
    async def skip_texts(self, count: int) -> None: ...
    async def word(self) -> int: ...
    async def last_word(self, count: int) -> int: ...


class Layout(Protocol):
    async def prefix(self, source: Source) -> None:
        """Read past what stands once before the column's data."""

    async def data(self, source: Source, rows: int) -> None:
        """Read past the values of `rows` rows."""


@dataclass(frozen=True, slots=True)
class Fixed:
    size: int

    async def prefix(self, source: Source) -> None:
        pass

    async def data(self, source: Source, rows: int) -> None:
        await source.skip(self.size * rows)


@dataclass(frozen=True, slots=True)
class Texts:
    async def prefix(self, source: Source) -> None:
        pass

    async def data(self, source: Source, rows: int) -> None:
        await source.skip_texts(rows)


@dataclass(frozen=True, slots=True)
class Nullable:
    inner: Layout

    async def prefix(self, source: Source) -> None:
        await self.inner.prefix(source)

    async def data(self, source: Source, rows: int) -> None:
        await source.skip(rows)  # a byte each: is it NULL
        await self.inner.data(source, rows)


@dataclass(frozen=True, slots=True)
class Array:
    inner: Layout

    async def prefix(self, source: Source) -> None:
        await self.inner.prefix(source)

    async def data(self, source: Source, rows: int) -> None:
        if rows:  # an end offset for each row: the last one is the number of elements
            await self.inner.data(source, await source.last_word(rows))


@dataclass(frozen=True, slots=True)
class Tuple:
    inner: tuple[Layout, ...]

    async def prefix(self, source: Source) -> None:
        for layout in self.inner:
            await layout.prefix(source)

    async def data(self, source: Source, rows: int) -> None:
        for layout in self.inner:
            await layout.data(source, rows)


@dataclass(frozen=True, slots=True)
class LowCardinality:
    """A dictionary and indexes into it. NULL is the dictionary's first entry, not a mask."""

    keys: Layout

    async def prefix(self, source: Source) -> None:
        await source.skip(8)  # version of the serialisation of keys

    async def data(self, source: Source, rows: int) -> None:
        if rows:
            flags = await source.word()
            await self.keys.data(source, await source.word())
            await source.skip((1 << (flags & 0xFF)) * await source.word())


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
            return Texts()
        case "FixedString":
            return Fixed(int(arguments[0][0].value))
        case "Decimal":
            precision = int(arguments[0][0].value)
            return Fixed(next(size for limit, size in _DECIMALS if precision <= limit))
        case "Nullable":
            return Nullable(_layout(arguments[0], type_name))
        case "Array":
            return Array(_layout(arguments[0], type_name))
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
        case "Point":
            return Tuple((Fixed(8), Fixed(8)))
        case _:
            raise ServerError(
                48, f"DB::Exception: the sandbox cannot take blocks with a column of {type_name}"
            )


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
