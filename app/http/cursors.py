"""Cursors of pages (RFC 9865): where a query goes on, signed with the tenant's own key.

A cursor names a place in one query of one tenant. Another query, another tenant and whatever nobody
here has made are refused, so that a client can't read on where it was not.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

import msgspec

from app.errors import ExpiredCursor, InvalidCursor

_SIGNED = 16


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where the next page begins: after the resource of `seq` of the type number `type`.

    `offset`: where the list is sorted, how much of it has been seen instead.
    """

    type: int = 0
    seq: int = 0
    offset: int = 0


class _Sealed(msgspec.Struct, frozen=True, array_like=True):
    place: Place
    made_ms: int
    query: str


_decode = msgspec.json.Decoder(_Sealed).decode


@dataclass(frozen=True, slots=True)
class Sealer:
    """`key`: the tenant's. `query`: what tells this query from others. `lasts_s`: how long."""

    key: bytes
    query: str
    lasts_s: int

    def seal(self, place: Place, now_ms: int) -> str:
        digest = hashlib.sha256(self.query.encode(errors="surrogateescape")).hexdigest()[:16]
        body = msgspec.json.encode(_Sealed(place, now_ms, digest))
        return urlsafe_b64encode(self._sign(body) + body).decode().rstrip("=")

    def open(self, text: str, now_ms: int) -> Place:
        """Return the place. Raises InvalidCursor, ExpiredCursor."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise _invalid() from None
        signature, body = raw[:_SIGNED], raw[_SIGNED:]
        if not hmac.compare_digest(signature, self._sign(body)):
            raise _invalid()
        sealed = _decode(body)
        if self.seal(sealed.place, sealed.made_ms) != text.rstrip("="):
            raise _invalid()
        if now_ms - sealed.made_ms > self.lasts_s * 1000:
            raise ExpiredCursor("cursor: is too old; begin again with an empty one")
        return sealed.place

    def _sign(self, body: bytes) -> bytes:
        return hmac.new(self.key, body, hashlib.sha256).digest()[:_SIGNED]


def _invalid() -> InvalidCursor:
    return InvalidCursor("cursor: is not one of this query; begin again with an empty one")
