"""Who may ask: the token's check, with one answer and one cost for every failure."""

from __future__ import annotations

import hashlib
from collections.abc import Container

from app.clock import Clock
from app.config.network import parse_network
from app.directory.shards import Shards
from app.directory.tokens import TokenRecord, authenticate, parse_authorization
from app.errors import TooManyTries, Unauthorized
from app.http.address import is_in, parse_address
from app.http.failures import Failures
from app.http.uses import TokenUses

CACHE_S = 0.5  # a revoked token is refused everywhere within this time
_CACHE_SIZE = 10_000
_NO_TENANT = "-"  # no tenant can have this name: the look-up for an unknown one costs the same
_NOBODY = 0.0, None
_NEEDED = "a valid token is needed in the Authorization header"

_Key = tuple[str, bytes]
"""A tenant's name and the digest of what was sent."""


class Authenticator:
    """Checks tokens against Redis; what was admitted is believed for `CACHE_S`."""

    def __init__(self, shards: Shards, clock: Clock, uses: TokenUses, failures: Failures) -> None:
        self._shards = shards
        self._clock = clock
        self._uses, self._failures = uses, failures
        self._admitted: dict[_Key, tuple[float, TokenRecord]] = {}

    async def check(
        self, tenants: Container[str], tenant: str, authorization: str | None, address: str
    ) -> TokenRecord:
        """Return the token's record. Raises Unauthorized whatever the reason, and TooManyTries
        where many tries from this `address` have failed.
        """
        record = None
        if authorization is not None:
            known = tenant if tenant in tenants else _NO_TENANT
            # Digests are looked up, and no secrets: how far one fits tells nothing of the others.
            key = known, hashlib.sha256(authorization.encode(errors="surrogateescape")).digest()
            until, record = self._admitted.get(key, _NOBODY)
            if record is None or self._clock.monotonic() >= until:
                record = await self._read(key, authorization)
        if record is not None and (not record.networks or _is_at_home(record, address)):
            return record
        if (wait_s := self._failures.note(address)) is not None:
            raise TooManyTries("too many tries without a valid token: wait", wait_s)
        raise Unauthorized(_NEEDED)

    async def _read(self, key: _Key, authorization: str) -> TokenRecord | None:
        """Return the record of a token that Redis admits, and believe it for a while."""
        known, now = key[0], self._clock.monotonic()
        credential = parse_authorization(authorization)
        if credential is None:
            return None
        link = self._shards.of(known)
        record = await authenticate(link, known, credential, self._clock.now_ms())
        if record is not None:
            if len(self._admitted) >= _CACHE_SIZE:
                self._admitted.clear()
            self._admitted[key] = now + CACHE_S, record
            self._uses.note(known, record.id)
        return record


def _is_at_home(record: TokenRecord, address: str) -> bool:
    """Whether a token that is for some networks only may be used from `address`."""
    parsed = parse_address(address)
    return parsed is not None and is_in(parsed, [parse_network(n) for n in record.networks])
