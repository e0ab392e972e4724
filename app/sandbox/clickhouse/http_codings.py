"""Content codings of HTTP bodies, a part at a time: gzip, deflate, lz4, zstd.

Nothing grows with the body: a part that unpacks to gigabytes comes in pieces of a megabyte.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]
from backports import zstd

from app.sandbox.clickhouse import compression
from app.sandbox.clickhouse.faults import Disconnected, ServerError

_PIECE = 1 << 20
_LEVEL = 3  # of zlib: a server's http_zlib_compression_level


class Packer(Protocol):
    def pack(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...


class Unpacker(Protocol):
    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` holds. Raises ServerError where it is damaged."""

    def end(self) -> object:
        """Raise ServerError where the body ends too early."""


class Plain:
    """No coding."""

    def pack(self, data: bytes) -> bytes:
        return data

    def unpack(self, data: bytes) -> Iterator[bytes]:
        yield data

    def end(self) -> bytes:
        return b""


class _Zlib:
    def __init__(self, window: int) -> None:
        self._packer = zlib.compressobj(_LEVEL, wbits=window)

    def pack(self, data: bytes) -> bytes:
        return self._packer.compress(data)

    def end(self) -> bytes:
        return self._packer.flush()


class _Lz4:
    def __init__(self) -> None:
        self._packer = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def pack(self, data: bytes) -> bytes:
        packed: bytes = self._begin() + self._packer.compress(data)
        return packed

    def end(self) -> bytes:
        packed: bytes = self._begin() + self._packer.flush()
        return packed

    def _begin(self) -> bytes:
        head: bytes = b"" if self._begun else self._packer.begin()
        self._begun = True
        return head


class _Zstd:
    def __init__(self) -> None:
        self._packer = zstd.ZstdCompressor()

    def pack(self, data: bytes) -> bytes:
        return self._packer.compress(data)

    def end(self) -> bytes:
        return self._packer.flush()


class _Stream(Protocol):
    """What decompressors of lz4 and zstd have in common, and `_Inflate` with them."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    def __init__(self, window: int) -> None:
        self._stream = zlib.decompressobj(window)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._stream.unconsumed_tail
        return piece


class _Unpack:
    """`make`: a stream for each member, of which a body may have several."""

    def __init__(self, make: Callable[[], _Stream], code: int) -> None:
        self._make, self._code = make, code
        self._stream: _Stream | None = None

    def unpack(self, data: bytes) -> Iterator[bytes]:
        while data:
            stream = self._stream = self._stream or self._make()
            yield self._decompress(stream, data)
            while not (stream.eof or stream.needs_input):
                yield self._decompress(stream, b"")
            data = b""
            if stream.eof:
                data, self._stream = stream.unused_data or b"", None

    def _decompress(self, stream: _Stream, data: bytes) -> bytes:
        try:
            return stream.decompress(data, _PIECE)
        except (zlib.error, RuntimeError, zstd.ZstdError) as error:
            raise self._damaged(str(error)) from None

    def end(self) -> None:
        if self._stream is not None:
            raise self._damaged("the data ends too early")

    def _damaged(self, why: str) -> ServerError:
        return ServerError(self._code, f"DB::Exception: Cannot decompress the body: {why}")


class Framed:
    """ClickHouse's own frames, as the native protocol has them."""

    _CANNOT_DECOMPRESS = 271

    def __init__(self) -> None:
        self._rest = bytearray()

    def pack(self, data: bytes) -> bytes:
        return compression.compress(data)

    def unpack(self, data: bytes) -> Iterator[bytes]:
        self._rest += data
        head = compression.HASH_SIZE + compression.HEADER.size
        while len(self._rest) >= head:
            try:
                size = head + compression.frame_size(bytes(self._rest[:head]))
                if len(self._rest) < size:
                    return
                piece = compression.decompress(bytes(self._rest[:size]))
            except Disconnected:
                raise self._damaged() from None
            del self._rest[:size]
            yield piece

    def end(self) -> bytes:
        if self._rest:
            raise self._damaged()
        return b""

    def _damaged(self) -> ServerError:
        return ServerError(self._CANNOT_DECOMPRESS, "DB::Exception: The body's frames are damaged")


class Both:
    """One coding inside another."""

    def __init__(self, inner: Packer, outer: Packer) -> None:
        self._inner, self._outer = inner, outer

    def pack(self, data: bytes) -> bytes:
        return self._outer.pack(self._inner.pack(data))

    def end(self) -> bytes:
        return self._outer.pack(self._inner.end()) + self._outer.end()


@dataclass(frozen=True, slots=True)
class _Coding:
    packer: Callable[[], Packer]
    unpacker: Callable[[], Unpacker]


_GZIP_WINDOW, _ZLIB_WINDOW = 31, 15  # zlib.h: 16 more for gzip's header
_ZLIB_INFLATE_FAILED, _ZSTD_DECODER_FAILED, _LZ4_DECODER_FAILED = 354, 561, 614

# In the order in which they are chosen for an answer where the client takes several.
CODINGS: Mapping[str, _Coding] = {
    "gzip": _Coding(
        lambda: _Zlib(_GZIP_WINDOW),
        lambda: _Unpack(lambda: _Inflate(_GZIP_WINDOW), _ZLIB_INFLATE_FAILED),
    ),
    "deflate": _Coding(
        lambda: _Zlib(_ZLIB_WINDOW),
        lambda: _Unpack(lambda: _Inflate(_ZLIB_WINDOW), _ZLIB_INFLATE_FAILED),
    ),
    "zstd": _Coding(_Zstd, lambda: _Unpack(zstd.ZstdDecompressor, _ZSTD_DECODER_FAILED)),
    "lz4": _Coding(_Lz4, lambda: _Unpack(lz4.frame.LZ4FrameDecompressor, _LZ4_DECODER_FAILED)),
}


def packer_of(coding: str) -> Packer:
    return CODINGS[coding].packer() if coding else Plain()


def unpacker_of(coding: str) -> Unpacker:
    return CODINGS[coding].unpacker() if coding else Plain()
