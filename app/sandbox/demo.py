"""`clickhouse-scim demo`: a day of two identity providers, shown on the ClickHouse that results.

Starts a sandbox of its own and plays `scenes` on it. Each line that it prints was read from the
running system, and each check can fail.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

from app.errors import ClickHouseScimError
from app.sandbox.running import STOP_DEADLINE_S, start
from app.sandbox.scenes import TENANTS, Day
from app.sandbox.session import log_in
from app.sandbox.telling import Teller


def run() -> int:
    """Show the day; return 0 if every check held, else 1. Ctrl-C stops the sandbox, too."""
    teller = Teller()
    started = time.monotonic()
    try:
        if not asyncio.run(_to_its_end(_main(teller))):
            teller.check(False, "interrupted; the sandbox has been stopped")
    except ClickHouseScimError as error:
        teller.check(False, "the day could be played to its end", str(error))
    return teller.end(time.monotonic() - started)


async def _to_its_end(day: Coroutine[None, None, None]) -> bool:
    """Play the day; return False if Ctrl-C came first.

    It is asked to end again and again: on Python 3.11 `asyncio.wait_for`, which drivers use, now
    and then swallows the first asking, and the day would go on.
    """
    interrupted, playing = asyncio.Event(), asyncio.create_task(day)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not interrupted.is_set():
        waiting.cancel()
        await playing
        return True
    while not playing.done():
        playing.cancel()
        await asyncio.wait({playing}, timeout=2 * STOP_DEADLINE_S)
    with suppress(asyncio.CancelledError, ClickHouseScimError):
        await playing
    return False


async def _main(teller: Teller) -> None:
    teller.title(
        "ClickHouse SCIM: a day of two identity providers",
        "Everything below is read back from the running system.",
    )
    teller.say("First a sandbox starts: Redis, ClickHouse, a receiver and a worker.")
    with tempfile.TemporaryDirectory(prefix="clickhouse-scim-demo-") as folder:
        async with start(Path(folder), "--tenants", ",".join(TENANTS)) as sandbox:
            (url,) = sandbox.line.clickhouse.values()
            async with log_in(url) as administrator:
                await Day(teller, sandbox, url, administrator).play()
