"""Whether Redis can be the directory: reachable, writable, durable, with room and the right time.

Receiver and worker look at the same three settings before they start (`check_durable`) and name
the first that is wrong; here each is told, with the line that mends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from app.clock import Clock
from app.directory.answered import answered
from app.directory.layout import LAYOUT, read_layout
from app.directory.link import Link, read_setting
from app.directory.pipelined import PipelinedRedis
from app.directory.places import check_place
from app.directory.shards import Shards
from app.doctor.clocks import judge_clock
from app.doctor.finding import Finding, fail, ok, warn
from app.errors import DirectoryUnavailable, Misplaced

OLDEST = (7, 0)
_FULL = 0.8
_REWRITE = "then `CONFIG REWRITE`"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFacts:
    """What was read. `info`: of INFO; the settings are None where CONFIG is kept from us.

    `time_s`, `before_s`, `after_s`: Redis's clock, and ours around it, seconds since 1970.
    """

    info: Mapping[str, Any]
    appendfsync: str | None
    policy: str | None
    time_s: float
    before_s: float
    after_s: float


async def examine_link(link: Link, clock: Clock) -> list[Finding]:
    """Return the findings about every server of a Redis, Sentinels' primary or cluster; one that
    can't be asked is a finding.
    """
    try:
        servers = await link.servers()
    except DirectoryUnavailable as error:
        return [_unreachable(link.name, str(error))]
    found: list[Finding] = []
    for server in servers:
        try:
            facts = await _read(server.redis, clock)
        except DirectoryUnavailable as error:
            found.append(_unreachable(server.name, str(error)))
            continue
        found += judge_redis(server.name, facts, is_primary=server.is_primary)
        if facts.info.get("cluster_enabled") and len(servers) == 1:
            found.append(_lonely(server.name))
    with suppress(DirectoryUnavailable):  # told of already
        found.append(judge_layout(link.name, await read_layout(link)))
    return found


async def examine_places(shards: Shards) -> list[Finding]:
    """Return whether every tenant lies where `[redis]` puts it; nothing where one is away."""
    for link in shards.links.values():
        try:
            await check_place(shards, link)
        except Misplaced as error:
            return [fail("redis places", link.name, str(error), "clickhouse-scim directory move")]
        except DirectoryUnavailable:
            return []
    return [ok("redis places", f"{len(shards.links)} Redis", "every tenant is in its place")]


async def _read(redis: PipelinedRedis, clock: Clock) -> RedisFacts:
    info = await answered(redis.info())
    appendfsync = await read_setting(redis, "appendfsync")
    policy = await read_setting(redis, "maxmemory-policy")
    before_s = clock.now_ms() / 1000
    seconds, micros = await answered(redis.time())
    return RedisFacts(
        info=info,
        appendfsync=appendfsync,
        policy=policy or info.get("maxmemory_policy"),
        time_s=seconds + micros / 1e6,
        before_s=before_s,
        after_s=clock.now_ms() / 1000,
    )


def _lonely(where: str) -> Finding:
    return fail(
        "redis cluster",
        where,
        "is a node of a Redis Cluster, and has but some of the keys",
        f"write [redis] url as redis+cluster://{where.partition('/')[0]}, and add [redis.queue]",
    )


def _unreachable(where: str, error: str) -> Finding:
    wrong_password = any(word in error for word in ("NOAUTH", "WRONGPASS", "Authentication", "ACL"))
    mend = (
        "set [redis] password_env or password_file to the password that Redis has"
        if wrong_password
        else "start Redis, or correct [redis]; nothing works without it"
    )
    return fail("redis", where, error, mend)


def judge_redis(where: str, facts: RedisFacts, *, is_primary: bool = True) -> Iterator[Finding]:
    """Yield what to think of it; pure."""
    info = facts.info
    version = str(info.get("redis_version", "?"))
    if _numbers(version) < OLDEST:
        yield fail("redis", where, f"is version {version}", "upgrade Redis to 7.0 or newer")
    else:
        yield ok("redis", where, f"answers, version {version}")
    yield _durability(where, facts)
    yield _eviction(where, facts)
    if is_primary:
        yield from _writing(where, info)
    yield _room(where, info)
    yield judge_clock(where, facts.time_s, facts.before_s, facts.after_s)


def _durability(where: str, facts: RedisFacts) -> Finding:
    if not facts.info.get("aof_enabled"):
        return fail(
            "redis durable",
            where,
            "keeps no append-only file: a crash forgets acknowledged changes",
            f"`CONFIG SET appendonly yes` and `CONFIG SET appendfsync always`, {_REWRITE}",
        )
    if facts.appendfsync is None:
        return warn(
            "redis durable",
            where,
            "keeps an append-only file; how often it is synced can't be read (CONFIG is closed)",
            "see with its operator that appendfsync is always",
        )
    if facts.appendfsync != "always":
        return fail(
            "redis durable",
            where,
            f"acknowledges before it has written (appendfsync {facts.appendfsync})",
            f"`CONFIG SET appendfsync always`, {_REWRITE}",
        )
    return ok("redis durable", where, "what it acknowledges is on disk")


def _eviction(where: str, facts: RedisFacts) -> Finding:
    policy = facts.policy or "noeviction"
    if policy == "noeviction":
        return ok("redis eviction", where, "never evicts keys")
    return fail(
        "redis eviction",
        where,
        f"evicts keys when memory is short (maxmemory-policy {policy})",
        f"`CONFIG SET maxmemory-policy noeviction`, {_REWRITE}",
    )


def _writing(where: str, info: Mapping[str, Any]) -> Iterator[Finding]:
    if info.get("role") != "master":
        yield fail(
            "redis writes",
            where,
            "is a replica and takes no writes",
            "point [redis] url to the primary",
        )
    elif info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        yield fail(
            "redis writes",
            where,
            "could not write its append-only file the last time",
            "free space on its disk; see Redis's own log",
        )
    else:
        yield ok("redis writes", where, "takes writes")


def _room(where: str, info: Mapping[str, Any]) -> Finding:
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    if not most or used < _FULL * most:
        return ok("redis memory", where, f"{used / 2**20:.0f} MiB used")
    return warn(
        "redis memory",
        where,
        f"{used / 2**20:.0f} of {most / 2**20:.0f} MiB are used; a full one refuses writes",
        "raise maxmemory, or give the machine more memory",
    )


def judge_layout(where: str, noted: int) -> Finding:
    """Return what to think of data of this layout."""
    if noted > LAYOUT:
        return fail(
            "redis layout",
            where,
            f"its data is of a later version (layout {noted}, this one knows {LAYOUT})",
            "start that version, or go back to a backup of before",
        )
    if noted < LAYOUT:
        return warn(
            "redis layout",
            where,
            f"its data is of an earlier version (layout {noted}, this one writes {LAYOUT})",
            "start a receiver or a worker of this version: it brings the data forward",
        )
    return ok("redis layout", where, "its data is laid out as this version does it")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())[:2]
