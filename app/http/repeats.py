"""Requests whose outcome this process could not learn, so that their repeat finds its own write.

When Redis dies between a commit and its reply, the client gets 503 and sends the same request
again. If the first one did happen, the repeat would meet it as a 409; knowing the digest, the
receiver can answer with what is there.
"""

from __future__ import annotations

from app.clock import Clock

_KEPT_S = 3600.0
_KEPT = 10_000


class Repeats:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._unknown: dict[str, float] = {}

    def note(self, digest: str) -> None:
        """Remember a request that was answered 503 although it may have happened."""
        self._unknown.pop(digest, None)
        if len(self._unknown) >= _KEPT:
            del self._unknown[next(iter(self._unknown))]
        self._unknown[digest] = self._clock.monotonic() + _KEPT_S

    def knows(self, digest: str) -> bool:
        """Return whether this request is the repeat of such a one."""
        return self._unknown.get(digest, 0.0) > self._clock.monotonic()

    def forget(self, digest: str) -> None:
        """The request has been answered; a further one of the same kind is a new one."""
        self._unknown.pop(digest, None)
