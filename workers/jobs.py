"""What wakes lanes from outside: arq's jobs, and calls that are heard at once."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

from app.wake import CALLS, JOB, QUEUE, Queues
from workers.drainer import Drainer

POLL_S = 0.02  # arq's own is 0.5 s
_HEALTH_S = 30
_FIRST_S, _LONGEST_S = 0.1, 2.0

log = structlog.get_logger()


async def drain(ctx: dict[str, Any], tenant: str, target: str) -> None:
    """Wake the lane and be done: a job only carries the news, so it may be lost or run twice."""
    drainer: Drainer = ctx["drainer"]
    drainer.wake(tenant, target)


async def take_jobs(drainer: Drainer, queues: Queues, name: str) -> None:
    """Take jobs from one of the queues until cancelled.

    arq's worker dies with its connection to Redis, so a new one follows each that died.
    """
    pause_s = _FIRST_S
    while True:
        redis = queues.connect(name, 10)
        worker = _worker(drainer, redis)
        try:
            await worker.async_run()
        except (RedisError, OSError) as error:
            log.warning("redis.awaited", error=str(error))
            started = worker.jobs_complete > 0
            pause_s = _FIRST_S if started else min(2 * pause_s, _LONGEST_S)
        finally:
            # Worker.close does this too, but raises what its tasks raised, and leaves the rest.
            for task in worker.tasks.values():
                task.cancel()
            await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
            with contextlib.suppress(RedisError, OSError):
                await redis.delete(worker.health_check_key)
            await redis.aclose(close_connection_pool=True)
        await asyncio.sleep(pause_s)


async def hear_calls(drainer: Drainer, queues: Queues, name: str) -> None:
    """Wake the lanes that are called, until cancelled: asking for jobs takes longer than that."""
    while True:
        redis = queues.connect(name, 10)
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as calls:
                await calls.subscribe(CALLS)
                async for call in calls.listen():
                    tenant, _, target = call["data"].decode().partition("/")
                    drainer.wake(tenant, target)
        except (RedisError, OSError) as error:
            log.warning("redis.awaited", error=str(error))
        finally:
            await redis.aclose(close_connection_pool=True)
        await asyncio.sleep(drainer.rng.uniform(_FIRST_S, _LONGEST_S))


def _worker(drainer: Drainer, redis: ArqRedis) -> Worker:
    return Worker(
        functions=[func(drain, name=JOB)],
        queue_name=QUEUE,
        redis_pool=redis,
        ctx={"drainer": drainer},
        poll_delay=POLL_S,
        max_jobs=100,
        max_tries=1,
        job_timeout=10,
        keep_result=0,
        handle_signals=False,
        health_check_key=f"{QUEUE}:worker:{uuid.uuid4()}",
        health_check_interval=_HEALTH_S,
    )
