"""The right of one worker to change one lane's target."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from app.clock import Clock
from app.directory.lanes import LaneStore
from app.errors import DirectoryUnavailable, LaneStopped, LeaseLost


def never() -> bool:
    return False


class Lease:
    """Ours until it expires, or until a higher epoch takes the lane.

    Time is the holder's monotonic Clock, counted from before each request was sent, so our view
    ends before Redis's does. A pause between `check` and the statement can still overlap two
    holders, and a statement may outlive its sender on the way. So whoever follows on a holder that
    never gave the lane back, and whoever finds that it has lost it, has the users in hand looked at
    again after the longest time that a statement may take.
    """

    def __init__(
        self,
        store: LaneStore,
        epoch: int,
        lease_s: float,
        *,
        sent_at: float,
        clock: Clock,
        stops: Callable[[], bool] = never,
    ) -> None:
        """`stops`: whether the process is about to end."""
        self.epoch = epoch
        self._store, self._lease_s, self._clock, self._stops = store, lease_s, clock, stops
        self._expires_at = sent_at + lease_s
        self.is_used = False

    def check(self) -> None:
        """Raise LeaseLost if it has run out, LaneStopped if the process is to end. Called before
        each statement (promise 7).
        """
        if self._stops():
            raise LaneStopped(str(self._store))
        if self._clock.monotonic() >= self._expires_at:
            raise LeaseLost(str(self._store), self.epoch)
        self.is_used = True

    def require(self, ours: bool) -> None:
        """Raise LeaseLost if Redis has just said that the lane is not ours."""
        if not ours:
            self._expires_at = self._clock.monotonic()
            raise LeaseLost(str(self._store), self.epoch)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew it in the background for as long as this is open."""
        task = asyncio.create_task(self._renew(), name=f"lease {self._store}")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _renew(self) -> None:
        """Ends when the lease is lost; while Redis does not answer it just runs out."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            sent_at = self._clock.monotonic()
            try:
                ours = await self._store.renew(self.epoch, round(self._lease_s * 1000))
            except DirectoryUnavailable:
                continue
            if not ours:
                self._expires_at = sent_at
                return
            self._expires_at = sent_at + self._lease_s
