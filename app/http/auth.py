"""Who may ask: the token's check, with one answer and one cost for every failure."""

from __future__ import annotations

import hashlib
from collections.abc import Container

from app.clock import Clock
from app.directory.link import Link
from app.directory.tokens import TokenRecord, authenticate, parse_authorization
from app.errors import Unauthorized

CACHE_S = 0.5  # a revoked token is refused everywhere within this time
_CACHE_SIZE = 10_000
_NO_TENANT = "-"  # no tenant can have this name: the look-up for an unknown one costs the same
_NEEDED = "a valid token is needed in the Authorization header"


class Authenticator:
    """Checks tokens against Redis; what was admitted is believed for `CACHE_S`."""

    def __init__(self, link: Link, clock: Clock) -> None:
        self._link = link
        self._clock = clock
        self._admitted: dict[tuple[str, str], tuple[float, TokenRecord]] = {}

    async def check(
        self, tenants: Container[str], tenant: str, authorization: str | None
    ) -> TokenRecord:
        """Return the token's record. Raises Unauthorized whatever the reason."""
        credential = parse_authorization(authorization)
        if credential is None:
            raise Unauthorized(_NEEDED)
        known = tenant if tenant in tenants else _NO_TENANT
        key = known, hashlib.sha256(f"{credential.id}:{credential.secret}".encode()).hexdigest()
        now = self._clock.monotonic()
        until, record = self._admitted.get(key, (0.0, None))
        if record is not None and now < until:
            return record
        record = await authenticate(self._link, known, credential, self._clock.now_ms())
        if record is None:
            raise Unauthorized(_NEEDED)
        if len(self._admitted) >= _CACHE_SIZE:
            self._admitted.clear()
        self._admitted[key] = now + CACHE_S, record
        return record
