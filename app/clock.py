"""Time, handed in where logic needs it."""

from __future__ import annotations

import time


class Clock:
    """`monotonic` measures; `now_ms` tells the date, ms since 1970, and may jump."""

    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000
