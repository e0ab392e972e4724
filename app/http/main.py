"""The receiver's process."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import uvloop
from aiohttp import web

from app.clock import Clock
from app.config.settings import Settings
from app.directory.admission import Refused, admitted_later, admitted_now
from app.directory.link import Link
from app.directory.shards import connect_all
from app.http.activity import ActivityLog
from app.http.auth import Authenticator
from app.http.dispatch import Dispatch
from app.http.ends import warn_of_ends
from app.http.failures import Failures
from app.http.housekeeping import keep_house
from app.http.pressure import Pressure
from app.http.quirks import QuirkCounter
from app.http.receiver import Receiver, build_tenants
from app.http.servers import follow_servers
from app.http.tls import Certificate
from app.http.unanswered import Unanswered
from app.http.uses import TokenUses
from app.http.wire import Respond, Runner
from app.logs import every
from app.metrics.declared import Metrics
from app.metrics.exposition import Exposition
from app.metrics.fleet import Fleet
from app.reload import reread
from app.sentry import logging_to
from app.tracing.start import traced
from app.wake import Queues, Waker

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

_SHUTDOWN_S = 4.0
_LINE = 64 * 1024  # so that a filter that is too long is refused by its own limit, in SCIM's form

log = structlog.get_logger()


def build_receiver(
    settings: Settings, *, allow_volatile_redis: bool, tracing: Tracing | None = None
) -> Receiver:
    metrics, clock = Metrics(settings.tenants), Clock()
    timed = metrics.time_script
    shards = connect_all(settings.redis, timed=timed if tracing is None else tracing.timing(timed))
    fleet = Fleet(shards, metrics, "receiver", clock)
    uses = TokenUses(shards, clock)
    return Receiver(
        settings=settings,
        configured=settings,
        tenants=build_tenants(settings, shards),
        shards=shards,
        waker=Waker(Queues.of(settings.redis)),
        metrics=metrics,
        fleet=fleet,
        exposition=Exposition(shards, fleet, clock),
        activity=ActivityLog(shards, clock),
        authenticator=Authenticator(shards, clock, uses, Failures(clock)),
        uses=uses,
        clock=clock,
        unanswered=Unanswered(shards),
        quirks=QuirkCounter(shards, clock),
        pressure=Pressure(shards, clock),
        log_answer=every("request.answered"),
        tracing=tracing,
        allow_volatile_redis=allow_volatile_redis,
    )


def _respond(receiver: Receiver) -> Respond:
    if receiver.tracing is None:
        return lambda request: Dispatch(receiver, request).respond()
    from app.http.tracing import respond_traced  # noqa: PLC0415 - needs an extra

    return partial(respond_traced, receiver, receiver.tracing)


def make_runner(receiver: Receiver) -> Runner:
    """Return what serves `receiver`, not set up yet. Its requests have `_SHUTDOWN_S` to end."""
    return Runner(
        _respond(receiver),
        _parts(receiver),
        access_log=None,  # costs 38 % of the requests per second; our own line says more
        auto_decompress=False,  # `bodies` refuses what is packed
        max_line_size=_LINE,
        shutdown_timeout=_SHUTDOWN_S,
    )


@asynccontextmanager
async def _parts(receiver: Receiver) -> AsyncIterator[None]:
    """Keep running what works beside the requests."""
    tasks = [
        asyncio.create_task(receiver.waker.run(), name="waker"),
        asyncio.create_task(receiver.quirks.run(), name="quirks"),
        *(
            asyncio.create_task(receiver.pressure.watch_memory(link), name=f"memory of {link.name}")
            for link in receiver.shards.links.values()
        ),
        asyncio.create_task(receiver.uses.run(), name="token uses"),
        asyncio.create_task(warn_of_ends(receiver), name="token ends"),
        asyncio.create_task(keep_house(receiver), name="housekeeping"),
        asyncio.create_task(receiver.unanswered.run(), name="unanswered"),
        asyncio.create_task(receiver.activity.run(), name="activity"),
        asyncio.create_task(follow_servers(receiver), name="servers"),
        asyncio.create_task(receiver.fleet.run(), name="metrics"),
    ]
    yield
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await receiver.waker.close()
    await receiver.shards.close()


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    allow_volatile_redis: bool,
    reload: Callable[[], Settings],
    reuse_port: bool = False,
    tracing: Tracing | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT. Raises what refuses a Redis (`admission`), and
    OSError if the port is taken.

    Where Redis does not answer yet the port is open all the same: until it is admitted, every
    request of the tenants there is a 503. SIGHUP rereads the configuration; a broken one changes
    nothing and is logged.
    """
    certificate = _certificate(settings)
    receiver = build_receiver(settings, allow_volatile_redis=allow_volatile_redis, tracing=tracing)
    await _look(receiver)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reread, receiver, reload)
    runner = make_runner(receiver)
    await runner.setup()
    _collect_rarely()
    try:
        context = certificate.context if certificate is not None else None
        site = web.TCPSite(runner, host, port, reuse_port=reuse_port or None, ssl_context=context)
        await site.start()
        log.info("receiver.started", host=host, port=port, tenants=len(receiver.tenants))
        async with asyncio.TaskGroup() as tasks:
            beside = [
                tasks.create_task(_admit(receiver, link)) for link in receiver.shards.links.values()
            ]
            if certificate is not None:
                beside.append(tasks.create_task(certificate.kept_fresh()))
            await stop.wait()
            for task in beside:
                task.cancel()
    finally:
        await runner.cleanup()
    log.info("receiver.stopped")


def _collect_rarely() -> None:
    """Keep the garbage collector from walking over all that lives as long as the process.

    Requests leave few cycles; by default it looks for them after each 700 new objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _certificate(settings: Settings) -> Certificate | None:
    """Return what TLS is spoken with. Raises ConfigError if the files don't belong together."""
    at = settings.receiver
    if at.tls_certificate is None or at.tls_key is None:
        return None
    return Certificate(at.tls_certificate, at.tls_key)


async def _look(receiver: Receiver) -> None:
    """Raise what refuses a Redis before the port is open, if it is there to be asked."""
    try:
        receiver.admitted |= await admitted_now(
            receiver.shards, allow_volatile=receiver.allow_volatile_redis
        )
    except Refused:
        await receiver.shards.close()
        raise


async def _admit(receiver: Receiver, link: Link) -> None:
    if link not in receiver.admitted:
        await admitted_later(
            receiver.shards,
            link,
            receiver.admitted,
            allow_volatile=receiver.allow_volatile_redis,
        )
        receiver.admitted.add(link)


def _reread(receiver: Receiver, reload: Callable[[], Settings]) -> None:
    settings = reread(reload)
    if settings is None:
        return
    if settings.redis != receiver.settings.redis:
        log.warning("config.kept", key="redis", reason="takes effect at the next start")
    receiver.replace(settings)
    log.info("config.reread", tenants=len(receiver.tenants))


def run_receiver(
    settings: Settings,
    *,
    host: str,
    port: int,
    allow_volatile_redis: bool,
    reload: Callable[[], Settings],
    reuse_port: bool = False,
) -> int:
    """Run one receiver process. Returns its exit code; VolatileRedis and OSError propagate."""
    refused: Exception | None = None
    with logging_to(settings.sentry, Clock()), traced(settings.tracing, "receiver") as tracing:
        try:
            uvloop.run(
                serve(
                    settings,
                    host=host,
                    port=port,
                    allow_volatile_redis=allow_volatile_redis,
                    reload=reload,
                    reuse_port=reuse_port,
                    tracing=tracing,
                )
            )
        except* Refused as group:
            refused = group.exceptions[0]
    if refused is not None:  # raised in the clause above it would be wrapped in a group again
        raise refused
    return 0
