"""The native format's bytes: numbers, texts and blocks, read from a stream and written.

From version 54454 of the protocol on blocks say of each column whether it is serialised in a
special way, which the engine's Native format leaves out: here none is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from app.sandbox.clickhouse.faults import Disconnected, ServerError
from app.sandbox.clickhouse.native_blocks import layout_of

MAX_TEXT = 1 << 30  # DEFAULT_MAX_STRING_SIZE
_MAX_HELLO_TEXT = 1 << 16  # before anyone has logged in

_NOT_IMPLEMENTED = 48
_NO_SPARSE = "DB::Exception: the sandbox does not take columns with a special serialisation"


class Reader:
    """Typed reading over bytes that `more` brings; empty bytes from it end the connection.

    Each call waits until it has what it was asked for, or raises Disconnected.
    """

    def __init__(self, more: Callable[[], bytes]) -> None:
        self._more = more
        self._buffer = bytearray()
        self._at = 0
        self.text_limit = _MAX_HELLO_TEXT

    def at_end(self) -> bool:
        """Wait until there is a byte to read; tell whether none will come."""
        try:
            self._need(1)
        except Disconnected:
            return True
        return False

    def next_byte(self) -> int | None:
        """Return the byte that will be read next, where it is here already."""
        return self._buffer[self._at] if self._at < len(self._buffer) else None

    def _need(self, size: int) -> None:
        while len(self._buffer) - self._at < size:
            data = self._more()
            if not data:
                raise Disconnected
            self._buffer += data

    def fixed(self, size: int) -> bytes:
        self._need(size)
        start, self._at = self._at, self._at + size
        return bytes(self._buffer[start : self._at])

    def byte(self) -> int:
        at = self._at
        if at == len(self._buffer):
            self._need(1)
        self._at = at + 1
        return self._buffer[at]

    def varint(self) -> int:
        value = self.byte()
        if value < 0x80:  # as most are
            return value
        value &= 0x7F
        for shift in range(7, 64, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Disconnected

    def text(self) -> str:
        size = self.varint()
        if size > self.text_limit:
            raise Disconnected
        return self.fixed(size).decode("utf-8", "surrogateescape") if size else ""

    def skip(self, size: int) -> None:
        self._need(size)
        self._at += size

    def skip_texts(self, count: int) -> None:
        for _ in range(count):
            self.skip(self.varint())

    def word(self) -> int:
        return int.from_bytes(self.fixed(8), "little")

    def last_word(self, count: int) -> int:
        self.skip(8 * (count - 1))
        return self.word()

    def forget(self) -> None:
        """Drop what was read."""
        del self._buffer[: self._at]
        self._at = 0

    def block(self, *, marked: bool) -> tuple[int, bytes]:
        """Read past one block; return its number of columns, and it as the engine has it.

        `marked`: each column's type is followed by a mark of special serialisation.
        """
        while field := self.varint():
            self.skip(1 if field == 1 else 4)  # is_overflows; bucket_num
        return self.bare_block(marked=marked)

    def bare_block(self, *, marked: bool = False) -> tuple[int, bytes]:
        self.forget()
        columns, rows = self.varint(), self.varint()
        parts, start = [], 0
        for _ in range(columns):
            self.text()
            layout = layout_of(self.text())
            if marked:
                parts.append(bytes(self._buffer[start : self._at]))
                if self.byte():
                    raise ServerError(_NOT_IMPLEMENTED, _NO_SPARSE)
                start = self._at
            if rows:
                layout.prefix(self).data(self, rows)
        parts.append(bytes(self._buffer[start : self._at]))
        self.forget()
        return columns, b"".join(parts)

    def marked_block(self) -> bytes:
        """Read one block of the engine's; return it with marks."""
        columns, rows = self.varint(), self.varint()
        parts, start = [], 0
        for column in range(columns):
            self.text()
            layout = layout_of(self.text())
            parts.append(bytes(self._buffer[start : self._at]))
            start = self._at
            if rows and column + 1 < columns:  # nobody asks where the last one ends
                layout.prefix(self).data(self, rows)
        return b"\0".join([*parts, bytes(self._buffer[start:])])


def reader_of(data: bytes) -> Reader:
    """Return a reader of bytes that are all here."""
    parts = [data]
    reader = Reader(lambda: parts.pop() if parts else b"")
    reader.text_limit = MAX_TEXT
    return reader


def split_blocks(native: bytes) -> list[bytes]:
    """Return the blocks of a result in Native format, which has nothing between them."""
    reader = reader_of(native)
    blocks = []
    try:
        while not reader.at_end():
            blocks.append(reader.bare_block()[1])
    except ServerError:  # a type that is not walked here: such results have been one block
        return [native]
    return blocks


def text_block(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    """Return a block whose columns are all of type String."""
    out = [varint(len(columns)), varint(len(rows))]
    for i, name in enumerate(columns):
        out += [counted(name), counted("String"), *(counted(row[i]) for row in rows)]
    return b"".join(out)


def header_block(columns: Iterable[tuple[str, str]]) -> bytes:
    """Return a block without rows that says which columns, by name and type, will come."""
    described = [counted(name) + counted(type_name) for name, type_name in columns]
    return varint(len(described)) + varint(0) + b"".join(described)


def varint(value: int) -> bytes:
    if value < 0x80:  # as most are
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def counted(text: str) -> bytes:
    """Return a text with its length before it."""
    data = text.encode("utf-8", "surrogateescape")
    return varint(len(data)) + data
