"""When a tenant's identity provider was last heard of, its rhythm, and whether it only fails.

Written by receivers every few seconds, not with each request: what a process had not written yet
when it was killed is missing, which makes a provider look silent for seconds longer than it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.directory.keys import Keys
from app.directory.link import Link

SHORTEST_S = 300  # a silence that is shorter belongs to one conversation
DAYS = 28
_KNOWN_AFTER_S = 7 * 86400  # a weekend is in it
_LONGEST_TIMES = 2.0
_LEAST_S = 900.0
_FAILURES, _FAILING_S = 10, 600.0


@dataclass(slots=True)
class Window:
    """What came from one tenant between two writings. Times in ms since 1970."""

    first_ms: int
    last_ms: int
    done: int = 0
    refused: int = 0
    refused_ms: int = 0

    def note(self, now_ms: int, *, write: bool, refused: bool) -> None:
        self.last_ms = now_ms
        if write and refused:
            self.refused_ms = self.refused_ms or now_ms
            self.refused += 1
        elif write:
            self.done += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What is known of one tenant's provider.

    `longest_silence_ms`: of the last DAYS days. `failed`: writes that were refused since one was
    done, `failing_ms`: since when.
    """

    since_ms: int
    last_ms: int
    longest_silence_ms: int
    failed: int
    failing_ms: int

    def silent_s(self, now_ms: int) -> float | None:
        """Return for how long it has been silent, if that is longer than its rhythm allows.

        A silence may be twice as long as the longest that was seen, once a week has been seen. None
        before that, and while all is well.
        """
        silence_s = (now_ms - self.last_ms) / 1000
        allowed_s = max(_LEAST_S, _LONGEST_TIMES * self.longest_silence_ms / 1000)
        known = self.last_ms - self.since_ms >= _KNOWN_AFTER_S * 1000
        return silence_s if known and silence_s > allowed_s else None

    def failing_s(self, now_ms: int) -> float | None:
        """Return for how long all of its writes have been refused, if they are not only a few."""
        failing_s = (now_ms - self.failing_ms) / 1000
        return failing_s if self.failed >= _FAILURES and failing_s >= _FAILING_S else None


async def note_activity(link: Link, tenant: str, window: Window) -> None:
    """Write what came. Raises DirectoryUnavailable."""
    await link.scripts.run(
        "activity",
        Keys(tenant).seq,
        window.first_ms,
        window.last_ms,
        window.done,
        window.refused,
        window.refused_ms,
        SHORTEST_S * 1000,
        DAYS,
    )


async def read_activities(link: Link, tenants: Sequence[str]) -> Mapping[str, Activity]:
    """Return this of each tenant that was ever heard of."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.hgetall(Keys(tenant).activity)
        pipe.hvals(Keys(tenant).silences)
    found = await link.call(pipe.execute()) if tenants else []
    return {
        tenant: _activity(fields, silences)
        for tenant, fields, silences in zip(tenants, found[::2], found[1::2], strict=True)
        if fields
    }


def _activity(fields: Mapping[bytes, bytes], silences: Sequence[bytes]) -> Activity:
    return Activity(
        since_ms=int(fields[b"since"]),
        last_ms=int(fields.get(b"last", fields[b"since"])),
        longest_silence_ms=max(map(int, silences), default=0),
        failed=int(fields.get(b"failed", 0)),
        failing_ms=int(fields.get(b"failing", 0)),
    )
