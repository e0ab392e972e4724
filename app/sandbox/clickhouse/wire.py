"""The native protocol's packets, read and written (`src/Server/TCPHandler.cpp`, `Core/Protocol.h`).

Version 54459 is announced, the first one with parameters of a query. What a client of an older one
does not know is left out. From 54454 on blocks say of each column whether it is serialised in a
special way, which the engine's Native format leaves out: here none is.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from app.sandbox.clickhouse import compression
from app.sandbox.clickhouse.compression import Method
from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.native_blocks import layout_of
from app.sandbox.clickhouse.queries import Counts, Query
from app.sandbox.clickhouse.tokens import Kind, parse_tokens

REVISION = 54459
_OLDEST = 54441  # settings as text and the place for an interserver secret
_WITH_TRACING = 54442
_WITH_DEPTH = 54448
_WITH_START_TIME = 54449
_WITH_REPLICAS = 54453
_WITH_MARKS = 54454  # of special serialisation, in blocks
_WITH_EVENTS_IN_INSERT = 54456
_WITH_ADDENDUM = 54458
_WITH_PARAMETERS = 54459

_READ_SIZE = 1 << 16
_MAX_TEXT = 1 << 30  # DEFAULT_MAX_STRING_SIZE
_MAX_HELLO_TEXT = 1 << 16  # before anyone has logged in
_IMPORTANT = 0x01
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # no overflow; of no bucket; the end
_EVENTS = (  # of which none are counted here
    ("host_name", "String"),
    ("current_time", "DateTime"),
    ("thread_id", "UInt64"),
    ("type", "Enum8('increment' = 1, 'gauge' = 2)"),
    ("name", "String"),
    ("value", "Int64"),
)
# A server's handshake, receive, send and idle time-outs, the first one shorter.
_GREETING_S, _SILENCE_S, _IDLE_S = 30, 300, 3600

_NOT_IMPLEMENTED = 48
_NO_SPARSE = "DB::Exception: the sandbox does not take columns with a special serialisation"
_METHODS = {"LZ4": Method.LZ4, "LZ4HC": Method.LZ4, "ZSTD": Method.ZSTD, "NONE": Method.NONE}


class FromClient(IntEnum):
    HELLO = 0
    QUERY = 1
    DATA = 2
    CANCEL = 3
    PING = 4


class ToClient(IntEnum):
    HELLO = 0
    DATA = 1
    EXCEPTION = 2
    PROGRESS = 3
    PONG = 4
    END_OF_STREAM = 5
    PROFILE_INFO = 6
    PROFILE_EVENTS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    client: str
    database: str
    user: str
    password: str


class Reader:
    """Typed reading over bytes that `more` brings; empty bytes from it end the connection."""

    def __init__(self, more: Callable[[], Awaitable[bytes]]) -> None:
        self._more = more
        self._buffer = bytearray()
        self._at = 0
        self.text_limit = _MAX_HELLO_TEXT

    async def wait(self) -> None:
        """Wait until there is a byte to read. Raises Disconnected where none will come."""
        await self._need(1)

    async def _need(self, size: int) -> None:
        while len(self._buffer) - self._at < size:
            data = await self._more()
            if not data:
                raise Disconnected
            self._buffer += data

    async def fixed(self, size: int) -> bytes:
        await self._need(size)
        start, self._at = self._at, self._at + size
        return bytes(self._buffer[start : self._at])

    async def byte(self) -> int:
        await self._need(1)
        self._at += 1
        return self._buffer[self._at - 1]

    async def varint(self) -> int:
        value = shift = 0
        while True:
            byte = await self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise Disconnected

    async def text(self) -> str:
        size = await self.varint()
        if size > self.text_limit:
            raise Disconnected
        return (await self.fixed(size)).decode("utf-8", "surrogateescape")

    async def skip(self, size: int) -> None:
        await self._need(size)
        self._at += size

    async def skip_texts(self, count: int) -> None:
        for _ in range(count):
            buffer, at = self._buffer, self._at
            if at < len(buffer) and buffer[at] < 0x80:  # short and here: no call for each
                end = at + 1 + buffer[at]
                if end <= len(buffer):
                    self._at = end
                    continue
            await self.skip(await self.varint())

    async def word(self) -> int:
        return int.from_bytes(await self.fixed(8), "little")

    async def last_word(self, count: int) -> int:
        await self.skip(8 * (count - 1))
        return await self.word()

    def forget(self) -> None:
        """Drop what was read."""
        del self._buffer[: self._at]
        self._at = 0

    async def block(self, *, marked: bool) -> tuple[int, bytes]:
        """Read past one block; return its number of columns, and it as the engine has it.

        `marked`: each column's type is followed by a mark of special serialisation.
        """
        while field := await self.varint():
            await self.skip(1 if field == 1 else 4)  # is_overflows; bucket_num
        return await self.bare_block(marked=marked)

    async def bare_block(self, *, marked: bool = False) -> tuple[int, bytes]:
        self.forget()
        columns, rows = await self.varint(), await self.varint()
        parts, start = [], 0
        for _ in range(columns):
            await self.text()
            layout = layout_of(await self.text())
            if marked:
                parts.append(bytes(self._buffer[start : self._at]))
                if await self.byte():
                    raise ServerError(_NOT_IMPLEMENTED, _NO_SPARSE)
                start = self._at
            if rows:
                await (await layout.prefix(self)).data(self, rows)
        parts.append(bytes(self._buffer[start : self._at]))
        self.forget()
        return columns, b"".join(parts)

    async def marked_block(self) -> bytes:
        """Read one block of the engine's; return it with marks."""
        columns, rows = await self.varint(), await self.varint()
        parts, start = [], 0
        for column in range(columns):
            await self.text()
            layout = layout_of(await self.text())
            parts.append(bytes(self._buffer[start : self._at]))
            start = self._at
            if rows and column + 1 < columns:  # nobody asks where the last one ends
                await (await layout.prefix(self)).data(self, rows)
        return b"\0".join([*parts, bytes(self._buffer[start:])])


class Wire(Reader):
    """One client's connection: what it sends is read, what it is sent is written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(self._receive)
        self._reader, self._writer = reader, writer
        self._frames = Reader(self._receive_frame)
        self._frames.text_limit = _MAX_TEXT
        self._compressed = False
        self._patience_s: float | None = _GREETING_S  # how long the rest of a packet may take
        self._method = Method.LZ4  # of what is sent, whatever the client sends itself
        self._revision = _OLDEST  # the lower one of both sides
        self._out: list[bytes] = []  # sent together: a system call costs more than a packet

    async def _receive(self) -> bytes:
        try:
            async with asyncio.timeout(self._patience_s):
                return await self._reader.read(_READ_SIZE)
        except OSError as error:  # TimeoutError is one
            raise Disconnected from error

    async def _receive_frame(self) -> bytes:
        head = await self.fixed(compression.HASH_SIZE + compression.HEADER.size)
        return compression.decompress(head + await self.fixed(compression.frame_size(head)))

    async def packet_type(self) -> int:
        """Wait for the client's next packet, and return what it is."""
        self._patience_s = _IDLE_S
        kind = await self.varint()
        self._patience_s = _SILENCE_S
        return kind

    async def peek(self) -> int:
        """Wait for as long as it takes, return the next byte and leave it where it is."""
        before, self._patience_s = self._patience_s, None
        try:
            await self._need(1)
        finally:
            self._patience_s = before
        return self._buffer[self._at]

    async def read_hello(self) -> Hello:
        """Raises Disconnected where the client says something else, or is too old."""
        if await self.varint() != FromClient.HELLO:
            raise Disconnected
        client = await self.text()
        _, _, revision = await self.varint(), await self.varint(), await self.varint()
        if revision < _OLDEST:
            raise Disconnected
        database, user, password = await self.text(), await self.text(), await self.text()
        self.text_limit = _MAX_TEXT
        self._revision = min(revision, REVISION)
        return Hello(
            client=client,
            database=database,
            user=user,
            password=password,
        )

    async def read_addendum(self) -> None:
        """Read what a newer client says once more after the server's Hello."""
        if self._revision >= _WITH_ADDENDUM:
            await self.text()  # quota key

    async def read_query(self) -> Query:
        """Read a Query packet after its type."""
        query_id = await self.text()
        await self._skip_client_info()
        settings, important = await self._read_settings()
        await self.text()  # a secret between servers
        await self.varint()  # up to which stage: clients want the end
        self._compressed = bool(await self.varint())
        sql = await self.text()
        parameters: dict[str, str] = {}
        if self._revision >= _WITH_PARAMETERS:
            parameters, _ = await self._read_settings()
        self.forget()
        asked = settings.get("network_compression_method", "")
        self._method = _METHODS.get(asked.upper(), Method.LZ4)
        return Query(
            query_id=query_id,
            settings=settings,
            sql=sql,
            important=frozenset(important),
            parameters={name: unquoted(value) for name, value in parameters.items()},
        )

    async def _read_settings(self) -> tuple[dict[str, str], set[str]]:
        """Return settings, up to the empty name that ends them, and which of them are important."""
        settings: dict[str, str] = {}
        important = set()
        while name := await self.text():
            if await self.varint() & _IMPORTANT:
                important.add(name)
            settings[name] = await self.text()
        return settings, important

    async def _skip_client_info(self) -> None:
        if await self.byte() == 0:  # no query: nothing follows
            return
        for _ in range(3):  # initial user, query id and address
            await self.text()
        if self._revision >= _WITH_START_TIME:
            await self.skip(8)
        if await self.byte() != 1:  # another interface than TCP
            raise Disconnected
        for _ in range(3):  # user, host and name of the client
            await self.text()
        for _ in range(3):  # its version
            await self.varint()
        await self.text()  # quota key
        if self._revision >= _WITH_DEPTH:
            await self.varint()  # distributed depth
        await self.varint()  # patch version
        if self._revision >= _WITH_TRACING and await self.byte():
            await self.skip(24)
            await self.text()
            await self.byte()
        if self._revision >= _WITH_REPLICAS:
            for _ in range(3):  # of queries that several replicas share
                await self.varint()

    async def read_data(self) -> bytes:
        """Read a Data packet after its type; return its block, empty where it marks the end."""
        await self.text()  # an external table's name
        source = self._frames if self._compressed else self
        columns, block = await source.block(marked=self._revision >= _WITH_MARKS)
        return block if columns else b""

    def hello(self, version: str, time_zone: str) -> None:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
        self._out.append(
            _varint(ToClient.HELLO)
            + _text("ClickHouse")
            + b"".join(map(_varint, (major, minor, REVISION)))
            + _text(time_zone)
            + _text("sandbox")
            + _varint(patch)
        )

    async def data(self, block: bytes) -> None:
        """Send one Native block. It has no table name, is no overflow and of no bucket.

        Raises ServerError for a block with a type that cannot be walked, where it has to be.
        """
        if self._revision >= _WITH_MARKS:
            block = await _reader_of(block).marked_block()
        content = _BLOCK_INFO + block
        if self._compressed:
            content = compression.compress(content, self._method)
        self._out.append(_varint(ToClient.DATA) + _text("") + content)

    def exception(self, error: ServerError) -> None:
        self._out.append(
            _varint(ToClient.EXCEPTION)
            + struct.pack("<i", error.code)
            + _text("DB::Exception")
            + _text(error.message)
            + _text("")
            + b"\0"
        )

    async def taken(self) -> None:
        """Tell a newer client that its block of an INSERT is here; it waits for profile events."""
        if self._revision >= _WITH_EVENTS_IN_INSERT:
            block = await _reader_of(header_block(_EVENTS)).marked_block()
            self._out.append(_varint(ToClient.PROFILE_EVENTS) + _text("") + _BLOCK_INFO + block)
            await self.flush()

    def inserted(self, counts: Counts) -> None:
        """Tell a newer client what was written: an older one takes it for the end (asynch 0.4)."""
        if self._revision >= _WITH_EVENTS_IN_INSERT:
            self._progress(counts)

    def totals(self, counts: Counts, blocks: int) -> None:
        """Tell what a query has read and written, and what its result amounts to."""
        self._progress(counts)
        profile = (counts.result_rows, blocks, counts.result_bytes)
        self._out.append(
            b"".join(map(_varint, (ToClient.PROFILE_INFO, *profile)))
            + bytes(3)  # no limit was applied; 0 rows before one; that was not counted
        )

    def _progress(self, counts: Counts) -> None:
        read = (counts.read_rows, counts.read_bytes, 0)  # no guess of rows that are to be read
        written = (counts.written_rows, counts.written_bytes)
        self._out.append(b"".join(map(_varint, (ToClient.PROGRESS, *read, *written))))

    def pong(self) -> None:
        self._out.append(_varint(ToClient.PONG))

    def end_of_stream(self) -> None:
        self._out.append(_varint(ToClient.END_OF_STREAM))

    async def flush(self) -> None:
        self._writer.write(b"".join(self._out))
        self._out.clear()
        try:
            async with asyncio.timeout(_SILENCE_S):
                await self._writer.drain()
        except OSError as error:
            raise Disconnected from error

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):  # it is gone, one way or the other
            await self._writer.wait_closed()


async def split_blocks(native: bytes) -> list[bytes]:
    """Return the blocks of a result in Native format, which has nothing between them."""
    reader = _reader_of(native)
    blocks = []
    try:
        while True:
            await reader.wait()
            blocks.append((await reader.bare_block())[1])
    except Disconnected:
        return blocks
    except ServerError:  # a type that is not walked here: such results have been one block
        return [native]


def _reader_of(data: bytes) -> Reader:
    reader = Reader(_once(data))
    reader.text_limit = _MAX_TEXT
    return reader


def unquoted(value: str) -> str:
    """Return a parameter's text: what clients send is a literal (`Field::dump`), or bare."""
    tokens = parse_tokens(value, 2)
    return tokens[0].value if len(tokens) == 1 and tokens[0].kind is Kind.TEXT else value


def _once(data: bytes) -> Callable[[], Awaitable[bytes]]:
    parts = [b"", data]

    async def more() -> bytes:
        return parts.pop() if parts else b""

    return more


def text_block(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Return a block whose columns are all of type String."""
    out = [_varint(len(columns)), _varint(len(rows))]
    for i, name in enumerate(columns):
        out += [_text(name), _text("String"), *(_text(row[i]) for row in rows)]
    return b"".join(out)


def header_block(columns: Iterable[tuple[str, str]]) -> bytes:
    """Return a block without rows that says which columns, by name and type, will come."""
    described = [_text(name) + _text(type_name) for name, type_name in columns]
    return _varint(len(described)) + _varint(0) + b"".join(described)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return _varint(len(data)) + data
