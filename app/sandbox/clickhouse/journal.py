r"""An append-only file of texts: what was appended is on disk before `append` returns.

    file    = "CHSANDBOX1\n" record*
    record  = length (4 bytes, little-endian) CRC-32 of the text (4 bytes) text (UTF-8)

A process that dies in the middle of an append leaves a record that ends too early, or, after a
loss of power, one whose bytes were never written. Such a tail was never acknowledged and is cut
off. A bad record with good ones after it is damage, and is refused: nobody is let in by half a
history.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart

_MAGIC = b"CHSANDBOX1\n"
_HEADER = struct.Struct("<II")


class Journal:
    """`records`: how many it holds. One writer at a time; the caller sees to that.

    A server's own journal: nobody else writes it, so nothing in it is ever due.
    """

    shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._end = 0  # of what was read or written here
        self.records = 0

    def open(self) -> list[str]:
        """Return the records, oldest first, and cut off a torn tail. Damage: CannotStart."""
        if not self._path.exists():
            self.replace([])
            return []
        content = self._path.read_bytes()
        if not content.startswith(_MAGIC):
            raise CannotStart(f"{self._path} is not a journal of this server; move it away")
        texts, end = _read(content, self._path)
        self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        self._end, self.records = end, len(texts)
        self.cut()
        return texts

    @contextmanager
    def writing(self) -> Iterator[list[str]]:
        yield []

    def due(self) -> list[str]:
        return []

    def may_be_replaced(self) -> bool:
        return True

    def read_on(self) -> list[str]:
        """Return what another process has appended meanwhile; a torn tail may still grow whole."""
        size = os.fstat(self._file).st_size - self._end
        if size <= 0:
            return []
        content = os.pread(self._file, size, self._end)
        found = [(end, text) for _, end, text in _records(content, 0) if text is not None]
        if found:
            self._end += found[-1][0]
            self.records += len(found)
        return [text for _, text in found]

    def cut(self) -> None:
        """Cut off the torn tail that a process left which died in the middle of an append."""
        if os.fstat(self._file).st_size > self._end:
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)

    def append(self, text: str) -> None:
        """Keep `text`. Once this returns, no crash loses it; before, it may be there or not."""
        record = _render(text)
        _write(self._file, record, self._end)
        os.fdatasync(self._file)
        self._end += len(record)
        self.records += 1

    def replace(self, texts: Iterable[str]) -> None:
        """Put `texts` in the place of all records, at once: a crash leaves the old or the new."""
        count = 0
        new = self._path.with_suffix(".new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        content = bytearray(_MAGIC)
        for text in texts:
            content += _render(text)
            count += 1
        _write(file, bytes(content), 0)
        os.fsync(file)
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self.close()
        self._file, self._end, self.records = file, len(content), count

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _render(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return _HEADER.pack(len(data), zlib.crc32(data)) + data


def _write(file: int, data: bytes, at: int) -> None:
    """Write all of it: a short write is legal for a file, too (POSIX write)."""
    written = 0
    while written < len(data):
        written += os.pwrite(file, data[written:], at + written)


def _read(content: bytes, path: Path) -> tuple[list[str], int]:
    """Return the whole records' texts and where the last one ends."""
    texts = []
    at = len(_MAGIC)
    for start, end, text in _records(content, at):
        if text is None:
            if end < len(content) and any(content[end:]):
                raise CannotStart(f"{path} is damaged at byte {start}; restore a copy of it")
            break
        texts.append(text)
        at = end
    return texts, at


def _records(content: bytes, at: int) -> Iterator[tuple[int, int, str | None]]:
    """Yield each record's start, end and text; None, once and last, for one that is not whole."""
    while at < len(content):
        start = at + _HEADER.size
        if start > len(content):
            yield at, len(content), None
            return
        length, crc = _HEADER.unpack_from(content, at)
        data = content[start : start + length]
        if not length or len(data) < length or zlib.crc32(data) != crc:
            yield at, min(start + length, len(content)), None
            return
        yield at, start + length, data.decode("utf-8", "surrogateescape")
        at = start + length
