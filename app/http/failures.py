"""Tries that failed, by the address that they came from: counted, and slowed beyond a few.

Only what fails is slowed. A good token is admitted whoever else sits behind the same address, so
nobody can lock an identity provider out by failing in its name.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address

from app.clock import Clock
from app.http.address import parse_address

BURST = 150  # failed tries at once: a provider with a stale token makes as many in a sync
EVERY_S = 1.0  # until one more is forgiven
_KEPT = 10_000


class Failures:
    """Memory for the last `_KEPT` addresses; an IPv6 network of 64 bits counts as one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> int | None:
        """Count a failed try. Return in how many seconds the next one is answered again, None
        while there have been few.
        """
        key, now = _network(address), self._clock.monotonic()
        # The moment at which all tries so far are forgiven.
        until = max(self._until.pop(key, now), now) + EVERY_S
        until = min(until, now + 2 * BURST * EVERY_S)
        self._until[key] = until
        if len(self._until) > _KEPT:
            self._until.popitem(last=False)
        excess_s = until - now - BURST * EVERY_S
        return None if excess_s <= 0 else max(1, round(excess_s))


def _network(address: str) -> str:
    parsed = parse_address(address)
    if isinstance(parsed, IPv6Address):
        return parsed.exploded[:19]
    return address
