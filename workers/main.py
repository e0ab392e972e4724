"""The worker's process."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import structlog

from app.clock import Clock
from app.config.settings import Settings
from app.directory.admission import Refused, admitted_later, admitted_now
from app.directory.link import Link
from app.directory.shards import connect_all
from app.metrics.declared import Metrics
from app.metrics.fleet import Fleet
from app.reload import reread
from app.sentry import logging_to
from app.tracing.start import traced
from app.wake import Queues
from workers.drainer import Drainer
from workers.jobs import hear_calls, take_jobs
from workers.ledger.writer import write_ledger
from workers.servers import find_servers
from workers.sweep import sweep, tend, trim_logs

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

REST_S = 3.0  # for the statements under way; what is left is cancelled, and all is over in 5 s

log = structlog.get_logger()


async def serve(
    settings: Settings,
    *,
    allow_volatile_redis: bool,
    reload: Callable[[], Settings],
    tracing: Tracing | None = None,
) -> None:
    """Drain lanes until SIGTERM or SIGINT. Raises what refuses a Redis (`admission`).

    SIGHUP rereads the configuration; a broken one changes nothing and is logged.
    """
    metrics, clock = Metrics(settings.tenants), Clock()
    metrics.expect(settings.targets)
    timed = metrics.time_script
    shards = connect_all(settings.redis, timed=timed if tracing is None else tracing.timing(timed))
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as parts:
        parts.push_async_callback(shards.close)
        parts.enter_context(_until_stopped())
        async with asyncio.TaskGroup() as tasks:
            drainer = Drainer(
                shards,
                settings,
                clock=clock,
                rng=random.Random(),  # noqa: S311 - for pauses
                tasks=tasks,
                metrics=metrics,
                tracing=tracing,
            )
            parts.push_async_callback(drainer.close)
            loop.add_signal_handler(
                signal.SIGHUP, lambda: tasks.create_task(_reread(drainer, reload))
            )
            tasks.create_task(_run(drainer, allow_volatile_redis=allow_volatile_redis))
            await stop.wait()
            await drainer.rest(REST_S)
            raise _Stopped  # the group then cancels what is left, and waits for it
    log.info("worker.stopped")


class _Stopped(Exception):
    """Somebody asked the process to end."""


@contextlib.contextmanager
def _until_stopped() -> Iterator[None]:
    try:
        yield
    except* _Stopped:
        pass


async def _run(drainer: Drainer, *, allow_volatile_redis: bool) -> None:
    """Work on every Redis by itself: one that is away, or hangs, holds no other up."""
    shards, queues = drainer.shards, Queues.of(drainer.settings.redis)
    admitted = await admitted_now(shards, allow_volatile=allow_volatile_redis)
    drainer.closed = set(shards.links.values()) - admitted
    async with asyncio.TaskGroup() as loops:
        for link in shards.links.values():
            loops.create_task(
                _work_on(drainer, link, admitted, allow_volatile_redis=allow_volatile_redis),
                name=f"work on {link.name}",
            )
        for name in queues.urls:
            loops.create_task(take_jobs(drainer, queues, name), name=f"jobs of {name}")
            loops.create_task(hear_calls(drainer, queues, name), name=f"calls of {name}")
        loops.create_task(find_servers(drainer), name="servers")
        fleet = Fleet(shards, drainer.metrics, "worker", drainer.clock)
        loops.create_task(fleet.run(), name="metrics")


async def _work_on(
    drainer: Drainer, link: Link, admitted: set[Link], *, allow_volatile_redis: bool
) -> None:
    if link not in admitted:
        await admitted_later(drainer.shards, link, admitted, allow_volatile=allow_volatile_redis)
        admitted.add(link)
        drainer.closed.discard(link)

    def tenants() -> list[str]:
        return drainer.shards.on(link, drainer.settings.tenants)

    log.info("worker.started", redis=link.name, tenants=len(tenants()))
    async with asyncio.TaskGroup() as loops:
        loops.create_task(sweep(drainer, link), name="sweep")
        loops.create_task(tend(drainer, link), name="tend")
        loops.create_task(trim_logs(drainer, link), name="trim")
        loops.create_task(
            write_ledger(
                link,
                lambda: drainer.settings,
                drainer.lively_tenants,
                drainer.clock,
                drainer.rng,
                tenants=tenants,
            ),
            name="ledger",
        )


async def _reread(drainer: Drainer, reload: Callable[[], Settings]) -> None:
    settings = reread(reload)
    if settings is None:
        return
    await drainer.replace(settings)
    log.info("config.reread", lanes=sum(1 for _ in drainer.lanes()))


def run_worker(
    settings: Settings, *, allow_volatile_redis: bool, reload: Callable[[], Settings]
) -> int:
    """Run one worker process. Returns its exit code; what refuses a Redis propagates."""
    refused: Exception | None = None
    with logging_to(settings.sentry, Clock()), traced(settings.tracing, "worker") as tracing:
        try:
            asyncio.run(
                serve(
                    settings,
                    allow_volatile_redis=allow_volatile_redis,
                    reload=reload,
                    tracing=tracing,
                )
            )
        except* Refused as group:
            refused = group
            while isinstance(refused, ExceptionGroup):
                refused = refused.exceptions[0]  # raised in here it would be part of a group again
    if refused is not None:
        raise refused
    return 0
