"""The end of a block is found for every type: held against what the engine itself writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from app.sandbox.clickhouse.reader import Reader, reader_of, split_blocks

if TYPE_CHECKING:
    from app.sandbox.clickhouse.native_blocks import Source

VALUES = {
    "numbers": "SELECT 1::Int8, 2::UInt16, 3.5::Float32, 4::Int128, 5::UInt256, true, 6::BFloat16",
    "times": "SELECT now(), now64(6), today(), '2100-01-01'::Date32, toIntervalDay(3)",
    "texts": "SELECT 'a', '', repeat('é', 300), 'abc'::FixedString(3), generateUUIDv4()",
    "addresses": "SELECT toIPv4('1.2.3.4'), toIPv6('::1')",
    "decimals": "SELECT 1::Decimal(9, 2), 1::Decimal(18, 2), 1::Decimal(38, 2), 1::Decimal(76, 2)",
    "enums": "SELECT 'a'::Enum8('a' = 1, 'it''s, (b)' = 2), 'a'::Enum16('a' = 1000)",
    "nothing": "SELECT NULL, [], tuple()",
    "low cardinality": "SELECT ['a', 'b', 'a']::Array(LowCardinality(Nullable(String)))",
    "maps": "SELECT map('a', [1, 2], 'b', []), map()::Map(String, Map(UInt8, String))",
    "tuples": "SELECT (1, 'a')::Tuple(n UInt8, `a text` String), [(1, [NULL, 2])]",
    "geometry": "SELECT (1., 2.)::Point, [[(1., 2.)], []]::Polygon, [[(1., 2.)]]::MultiLineString",
    "variant": "SELECT [1, 'x', NULL]::Array(Variant(UInt8, String, Array(String)))",
    "dynamic": "SELECT ['a', 5, NULL, [1, 2]]::Array(Dynamic), 'x'::Dynamic(max_types = 2)",
    "dynamic in blocks": "SELECT if(number % 2, number::Dynamic, 'odd'::Dynamic) FROM numbers(5)",
    "rare types": "SELECT if(number % 3 = 0, 'a'::Dynamic(max_types = 1),"
    " number::Dynamic(max_types = 1)) FROM numbers(6)",
    "json": """SELECT '{"a": {"b": 1}, "c": ["x"], "d": [{"e": null, "f": 1.5}]}'::JSON""",
    "empty json": "SELECT '{}'::JSON",
    "json with paths": 'SELECT \'{"z": [1], "a": {"b": "1"}, "skipped": 1, "more": true}\''
    "::JSON(z Array(UInt8), a.b String, max_dynamic_paths = 1, SKIP skipped, SKIP REGEXP 'x[(]y')",
    "many paths": "SELECT concat('{\"p', number, '\": ', number, '}')::JSON(max_dynamic_paths = 2)"
    " FROM numbers(7)",
    "nullable json": "SELECT [NULL, '{\"a\": 1}']::Array(Nullable(JSON))",
    "aggregates": "SELECT 5::SimpleAggregateFunction(max, UInt32)",
}


@pytest.mark.parametrize("text", VALUES.values(), ids=VALUES.keys())
async def test_a_block_of_the_engines_is_walked_to_its_end(http_url: str, text: str) -> None:
    """Two copies one after the other are told apart only if each end is found."""
    async with (
        aiohttp.ClientSession() as client,
        client.post(http_url, data=f"{text} FORMAT Native") as answer,
    ):
        native = await answer.read()
        assert answer.status == 200, native
    blocks = split_blocks(native)
    assert b"".join(blocks) == native
    assert split_blocks(native * 3) == blocks * 3


async def test_marks_are_put_in_and_taken_out_again(http_url: str) -> None:
    text = "SELECT number, toString(number), [number] FROM numbers(1000) FORMAT Native"
    async with aiohttp.ClientSession() as client, client.post(http_url, data=text) as answer:
        native = await answer.read()
    marked = reader_of(native).marked_block()
    assert len(marked) == len(native) + 3
    source = reader_of(marked)
    assert source.bare_block(marked=True) == (3, native)


if TYPE_CHECKING:

    def _a_reader_is_a_source(reader: Reader) -> Source:
        return reader
