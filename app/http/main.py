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
from app.directory.layout import admit_layout, until_admitted
from app.directory.link import check_durable, connect
from app.errors import DirectoryUnavailable, LaterLayout, VolatileRedis
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
from app.metrics.declared import Metrics
from app.metrics.exposition import Exposition
from app.metrics.fleet import Fleet
from app.reload import reread
from app.sentry import logging_to
from app.tracing.start import traced
from app.wake import Waker

if TYPE_CHECKING:
    from app.tracing.spans import Tracing

_SHUTDOWN_S = 4.0
_FIRST_LOOK_S = 1.0
_LINE = 64 * 1024  # so that a filter that is too long is refused by its own limit, in SCIM's form

log = structlog.get_logger()


def build_receiver(
    settings: Settings, *, allow_volatile_redis: bool, tracing: Tracing | None = None
) -> Receiver:
    url, password = settings.redis.url, settings.redis.secret()
    metrics, clock = Metrics(settings.tenants), Clock()
    timed = metrics.time_script
    link = connect(
        url,
        password,
        timed=timed if tracing is None else tracing.timing(timed),
        wait_replicas=settings.redis.wait_replicas,
    )
    fleet = Fleet(link, metrics, "receiver", clock)
    uses = TokenUses(link, clock)
    return Receiver(
        settings=settings,
        configured=settings,
        tenants=build_tenants(settings, link),
        link=link,
        waker=Waker(url, password),
        metrics=metrics,
        fleet=fleet,
        exposition=Exposition(link, fleet, clock),
        activity=ActivityLog(link, clock),
        authenticator=Authenticator(link, clock, uses, Failures(clock)),
        uses=uses,
        clock=clock,
        unanswered=Unanswered(link),
        quirks=QuirkCounter(link, clock),
        pressure=Pressure(link, clock),
        tracing=tracing,
        allow_volatile_redis=allow_volatile_redis,
        durable=allow_volatile_redis,
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
        asyncio.create_task(receiver.pressure.watch_memory(), name="memory"),
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
    await receiver.link.close()


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
    """Answer requests until SIGTERM or SIGINT. Raises VolatileRedis, OSError if the port is taken.

    Where Redis does not answer yet the port is open all the same: until it has been found durable,
    every request is a 503. SIGHUP rereads the configuration; a broken one changes nothing and is
    logged.
    """
    certificate = _certificate(settings)
    receiver = build_receiver(settings, allow_volatile_redis=allow_volatile_redis, tracing=tracing)
    await _refuse_volatile(receiver)
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
            beside = [tasks.create_task(_admit(receiver))]
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


async def _refuse_volatile(receiver: Receiver) -> None:
    """Raise VolatileRedis before the port is open, if Redis is there to be asked."""
    if receiver.durable:
        return
    try:
        async with asyncio.timeout(_FIRST_LOOK_S):
            await check_durable(receiver.link)
            await admit_layout(receiver.link)
    except (DirectoryUnavailable, TimeoutError):
        return
    except (VolatileRedis, LaterLayout):
        await receiver.link.close()
        raise
    receiver.durable = True


async def _admit(receiver: Receiver) -> None:
    if not receiver.durable:
        await until_admitted(receiver.link)
        receiver.durable = True


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
        except* (VolatileRedis, LaterLayout) as group:
            refused = group.exceptions[0]
    if refused is not None:  # raised in the clause above it would be wrapped in a group again
        raise refused
    return 0
