"""The native protocol's packets, read and written (`src/Server/TCPHandler.cpp`, `Core/Protocol.h`).

Version 54459 is announced, the first one with parameters of a query. What a client of an older one
does not know is left out.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from enum import IntEnum

from app.sandbox.clickhouse import compression
from app.sandbox.clickhouse.compression import Method
from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.queries import Counts, Query
from app.sandbox.clickhouse.reader import (
    MAX_TEXT,
    Reader,
    counted,
    header_block,
    reader_of,
    varint,
)
from app.sandbox.clickhouse.settings import is_custom, parse_custom
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


class Wire(Reader):
    """One client's connection: what it sends is read, what it is sent is written.

    One thread at a time may use it.
    """

    def __init__(self, client: socket.socket) -> None:
        super().__init__(self._receive)
        self._client = client
        self._frames = Reader(self._receive_frame)
        self._frames.text_limit = MAX_TEXT
        self._about_client = b""  # the last query's client info, which most repeat as it was
        self._compressed = False
        self._method = Method.LZ4  # of what is sent, whatever the client sends itself
        self._revision = _OLDEST  # the lower one of both sides
        self._out: list[bytes] = []  # sent together: a system call costs more than a packet
        client.settimeout(_GREETING_S)  # how long the rest of a packet may take

    @property
    def file(self) -> int:
        """The socket's descriptor."""
        return self._client.fileno()

    def _receive(self) -> bytes:
        try:
            return self._client.recv(_READ_SIZE)
        except OSError as error:  # TimeoutError is one
            raise Disconnected from error

    def _receive_frame(self) -> bytes:
        head = self.fixed(compression.HASH_SIZE + compression.HEADER.size)
        return compression.decompress(head + self.fixed(compression.frame_size(head)))

    def packet_type(self) -> int:
        """Wait for the client's next packet, and return what it is."""
        if self.next_byte() is None:
            self._client.settimeout(_IDLE_S)
            self._need(1)
            self._client.settimeout(_SILENCE_S)
        return self.varint()

    def look(self) -> int | None:
        """Return the byte that is to be read next, if one is here; wait for none.

        Raises Disconnected where the client is gone.
        """
        if self.next_byte() is None:
            self._client.settimeout(0)
            try:
                self._need(1)
            except Disconnected as gone:
                if isinstance(gone.__cause__, BlockingIOError | ssl.SSLWantReadError):
                    return None
                raise
            finally:
                self._client.settimeout(_SILENCE_S)
        return self.next_byte()

    def read_hello(self) -> Hello:
        """Raises Disconnected where the client says something else, or is too old."""
        if self.varint() != FromClient.HELLO:
            raise Disconnected
        client = self.text()
        _, _, revision = self.varint(), self.varint(), self.varint()
        if revision < _OLDEST:
            raise Disconnected
        database, user, password = self.text(), self.text(), self.text()
        self.text_limit = MAX_TEXT
        self._revision = min(revision, REVISION)
        return Hello(
            client=client,
            database=database,
            user=user,
            password=password,
        )

    def read_addendum(self) -> None:
        """Read what a newer client says once more after the server's Hello."""
        if self._revision >= _WITH_ADDENDUM:
            self.text()  # quota key

    def read_query(self) -> Query:
        """Read a Query packet after its type."""
        query_id = self.text()
        self._skip_client_info()
        settings, important = self._read_settings()
        self.text()  # a secret between servers
        self.varint()  # up to which stage: clients want the end
        self._compressed = bool(self.varint())
        sql = self.text()
        parameters: dict[str, str] = {}
        if self._revision >= _WITH_PARAMETERS:
            parameters, _ = self._read_settings()
        self.forget()
        asked = settings.get("network_compression_method", "")
        self._method = _METHODS.get(asked.upper(), Method.LZ4)
        return Query(
            query_id=query_id,
            settings={
                name: parse_custom(value) if is_custom(name) else value
                for name, value in settings.items()
            },
            sql=sql,
            important=frozenset(important),
            parameters={name: unquoted(value) for name, value in parameters.items()},
        )

    def _read_settings(self) -> tuple[dict[str, str], set[str]]:
        """Return settings, up to the empty name that ends them, and which of them are important."""
        settings: dict[str, str] = {}
        important = set()
        while name := self.text():
            if self.varint() & _IMPORTANT:
                important.add(name)
            settings[name] = self.text()
        return settings, important

    def _skip_client_info(self) -> None:
        if self.byte() == 0:  # no query: nothing follows
            return
        for _ in range(3):  # initial user, query id and address
            self.text()
        if self._revision >= _WITH_START_TIME:
            self.skip(8)
        if self._about_client and self._buffer.startswith(self._about_client, self._at):
            self._at += len(self._about_client)
            return
        start = self._at
        if self.byte() != 1:  # another interface than TCP
            raise Disconnected
        for _ in range(3):  # user, host and name of the client
            self.text()
        for _ in range(3):  # its version
            self.varint()
        self.text()  # quota key
        if self._revision >= _WITH_DEPTH:
            self.varint()  # distributed depth
        self.varint()  # patch version
        if self._revision >= _WITH_TRACING and self.byte():
            self.skip(24)
            self.text()
            self.byte()
        if self._revision >= _WITH_REPLICAS:
            for _ in range(3):  # of queries that several replicas share
                self.varint()
        self._about_client = bytes(self._buffer[start : self._at])

    def read_data(self) -> bytes:
        """Read a Data packet after its type; return its block, empty where it marks the end."""
        self.text()  # an external table's name
        source = self._frames if self._compressed else self
        columns, block = source.block(marked=self._revision >= _WITH_MARKS)
        return block if columns else b""

    def hello(self, version: str, time_zone: str) -> None:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
        self._out.append(
            varint(ToClient.HELLO)
            + counted("ClickHouse")
            + b"".join(map(varint, (major, minor, REVISION)))
            + counted(time_zone)
            + counted("sandbox")
            + varint(patch)
        )

    def data(self, block: bytes) -> None:
        """Send one Native block. It has no table name, is no overflow and of no bucket.

        Raises ServerError for a block with a type that cannot be walked, where it has to be.
        """
        if self._revision >= _WITH_MARKS:
            block = reader_of(block).marked_block()
        content = _BLOCK_INFO + block
        if self._compressed:
            content = compression.compress(content, self._method)
        self._out.append(varint(ToClient.DATA) + counted("") + content)

    def exception(self, error: ServerError) -> None:
        self._out.append(
            varint(ToClient.EXCEPTION)
            + struct.pack("<i", error.code)
            + counted("DB::Exception")
            + counted(error.message)
            + counted("")
            + b"\0"
        )

    def taken(self) -> None:
        """Tell a newer client that its block of an INSERT is here; it waits for profile events."""
        if self._revision >= _WITH_EVENTS_IN_INSERT:
            block = reader_of(header_block(_EVENTS)).marked_block()
            self._out.append(varint(ToClient.PROFILE_EVENTS) + counted("") + _BLOCK_INFO + block)
            self.flush()

    def inserted(self, counts: Counts) -> None:
        """Tell a newer client what was written: an older one takes it for the end (asynch 0.4)."""
        if self._revision >= _WITH_EVENTS_IN_INSERT:
            self._progress(counts)

    def totals(self, counts: Counts, blocks: int) -> None:
        """Tell what a query has read and written, and what its result amounts to."""
        self._progress(counts)
        profile = (counts.result_rows, blocks, counts.result_bytes)
        self._out.append(
            b"".join(map(varint, (ToClient.PROFILE_INFO, *profile)))
            + bytes(3)  # no limit was applied; 0 rows before one; that was not counted
        )

    def _progress(self, counts: Counts) -> None:
        read = (counts.read_rows, counts.read_bytes, 0)  # no guess of rows that are to be read
        written = (counts.written_rows, counts.written_bytes)
        self._out.append(b"".join(map(varint, (ToClient.PROGRESS, *read, *written))))

    def pong(self) -> None:
        self._out.append(varint(ToClient.PONG))

    def end_of_stream(self) -> None:
        self._out.append(varint(ToClient.END_OF_STREAM))

    def flush(self) -> None:
        data = b"".join(self._out)
        self._out.clear()
        try:
            self._client.sendall(data)
        except OSError as error:
            raise Disconnected from error


def unquoted(value: str) -> str:
    """Return a parameter's text: what clients send is a literal (`Field::dump`), or bare."""
    tokens = parse_tokens(value, 2)
    return tokens[0].value if len(tokens) == 1 and tokens[0].kind is Kind.TEXT else value
