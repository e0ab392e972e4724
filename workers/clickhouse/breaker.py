"""Whether a target is worth asking: while it is away, one probe at a time finds out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from app.clock import Clock
from app.errors import TargetUnavailable

_FIRST_S, _LONGEST_S = 0.25, 5.0
_PROBED_S = 1.0  # how long to wait while somebody else is finding out


class Breaker:
    """Of one target in one process. Closed: everybody may ask. Open after a failure: nobody, for a
    pause that doubles with each failure in a row, with full jitter. Then one may, and closes it or
    opens it again. So a target that hangs costs one wait, not one for each lane.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock, self._rng = clock, rng
        self._failures = 0
        self._until = 0.0
        self._probing = False
        self._error: TargetUnavailable | None = None

    def check(self) -> None:
        """Raise TargetUnavailable, with `wait_s`, if the target is not to be asked now."""
        wait_s = _PROBED_S if self._probing else self._until - self._clock.monotonic()
        if self._error is not None and wait_s > 0:
            raise TargetUnavailable(str(self._error), code=self._error.code, wait_s=wait_s)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Let the caller ask the target, and see how it goes. Raises as `check` does."""
        self.check()
        is_probe = self._error is not None
        self._probing = self._probing or is_probe
        try:
            yield
        except TargetUnavailable as failure:
            self._failures += 1
            most = min(_LONGEST_S, _FIRST_S * 2 ** min(self._failures - 1, 10))
            self._until = self._clock.monotonic() + self._rng.uniform(_FIRST_S / 2, most)
            self._error = failure
            raise
        else:
            self._failures, self._error = 0, None
        finally:
            self._probing = self._probing and not is_probe
