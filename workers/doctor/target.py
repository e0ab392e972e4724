"""Whether a target can be worked with: each host, its version and clock, and the account's rights.

Nothing is changed there.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace

from app.clock import Clock
from app.doctor.clocks import judge_clock
from app.doctor.finding import Finding, fail, ok, warn
from app.errors import StatementRefused, TargetError
from workers.access.held import missing_rights
from workers.access.model import RoleDefinition
from workers.access.nature import (
    CLUSTERS_OF_THIS,
    DIRECTORIES,
    Storage,
    members_query,
    mismatch,
)
from workers.access.statements import Right, needed_rights
from workers.clickhouse.pool import Endpoint, Pool, Session
from workers.clickhouse.servers import Found
from workers.clickhouse.target import UNKNOWN_IDENTIFIER
from workers.doctor.rights import read_held

# Several ways to log in came with 24.9, and with them the lists in `system.users`.
OLDEST = (24, 9)
PROBES = (
    "SELECT valid_until FROM system.users LIMIT 0",
    "SELECT access_object FROM system.grants LIMIT 0",
)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_WRONG_PASSWORD = frozenset({192, 193, 194, 516})


async def examine_target(
    name: str,
    endpoint: Endpoint,
    definitions: Collection[RoleDefinition],
    clock: Clock,
    *,
    storage: Storage,
    servers: int,
    cluster: str | None,
) -> list[Finding]:
    """Return the findings about each host of the target `name`, one after the other.

    `definitions`: the roles that the tenants of the target define. `storage`, `cluster`: as the
    configuration has them; `servers`: how many it names for the whole target.
    """
    found: list[Finding] = []
    for host, port in endpoint.hosts:
        pool = Pool(replace(endpoint, hosts=((host, port),), max_connections=1))
        subject = f"{name} ({host}:{port})"
        try:
            async with pool.session() as session:
                found += [ok("target reachable", subject, f"answers {endpoint.user}")]
                found += [
                    finding
                    async for finding in _examine(session, subject, endpoint, definitions, clock)
                ]
                found += await _storage(
                    session, subject, storage=storage, servers=servers, cluster=cluster
                )
        except TargetError as error:
            found.append(_unreachable(subject, endpoint, error))
        finally:
            await pool.close()
    return found


def _unreachable(subject: str, endpoint: Endpoint, error: TargetError) -> Finding:
    told = str(error)[:300]
    if error.code in _WRONG_PASSWORD:
        return fail(
            "target log-in",
            subject,
            f"does not let {endpoint.user!r} in: {told}",
            "correct the target's user and password_env or password_file; on the server:"
            f" `SHOW CREATE USER {endpoint.user}` tells whether it is there, and who may use it",
        )
    return fail(
        "target reachable",
        subject,
        told,
        "see that the server runs, and that hosts (the native protocol's port), secure and ca_file"
        " are right",
    )


async def _examine(
    session: Session,
    subject: str,
    endpoint: Endpoint,
    definitions: Collection[RoleDefinition],
    clock: Clock,
) -> AsyncIterator[Finding]:
    ((version,),) = await session.query("SELECT version()")
    yield judge_version(subject, version)
    yield await _abilities(session, subject)
    before_s = clock.now_ms() / 1000
    ((theirs_ms,),) = await session.query("SELECT toUnixTimestamp64Milli(now64(3))")
    yield judge_clock(subject, theirs_ms / 1000, before_s, clock.now_ms() / 1000)
    held = await read_held(session)
    needed = needed_rights(definitions)
    if held is None:
        lacking = [right for right in needed if right.privilege.table == "grants"]
    else:
        lacking = list(missing_rights(needed, *held))
    for finding in judge_rights(subject, endpoint.user, lacking):
        yield finding


async def _storage(
    session: Session, subject: str, *, storage: Storage, servers: int, cluster: str | None
) -> list[Finding]:
    """Nothing where the account may not ask: that takes more rights than its work does."""
    try:
        directories = [str(kind) for (kind,) in await session.query(DIRECTORIES)]
        clusters = [str(name) for (name,) in await session.query(CLUSTERS_OF_THIS)]
        members = 0 if cluster is None else len(await session.query(members_query(cluster)))
    except StatementRefused:
        return []
    wrong = mismatch(
        storage,
        directories,
        servers=servers,
        cluster=cluster,
        members=members,
        clusters=clusters,
    )
    if wrong is None:
        return [ok("target storage", subject, f"{storage}: {', '.join(directories)}")]
    judged = fail if wrong.is_fatal else warn
    return [judged("target storage", subject, wrong.told, wrong.mend)]


def judge_servers(name: str, found: Found) -> Iterator[Finding]:
    """Yield what the servers of the target `name`, which has a cluster, say of one another."""
    if found.servers:
        servers = ", ".join(map(str, found.servers))
        told = f"found in its cluster beside hosts, and filled like them: {servers}"
        yield ok("target servers", name, told)
    for node, error in found.failures.items():
        if isinstance(error, StatementRefused):
            yield fail(
                "target servers",
                f"{name} ({node})",
                f"does not tell which servers are in its cluster: {str(error)[:300]}",
                "run there what `clickhouse-scim provisioner-grants` prints",
            )


def judge_version(subject: str, version: str) -> Finding:
    match = _VERSION.match(version)
    numbers = (int(match[1]), int(match[2])) if match else (0, 0)
    if numbers < OLDEST:
        return fail(
            "target version",
            subject,
            f"{version} knows one way to log in for each user, and is read otherwise",
            "upgrade ClickHouse to 24.9 or newer, best to 26.2",
        )
    return ok("target version", subject, version)


async def _abilities(session: Session, subject: str) -> Finding:
    """Ask for what younger servers tell, and say what is not seen without it."""
    try:
        for probe in PROBES:
            await session.query(probe)
    except StatementRefused as error:
        if error.code != UNKNOWN_IDENTIFIER:
            return ok("target abilities", subject, "not told: the account lacks rights")
        return warn(
            "target abilities",
            subject,
            "its system tables don't tell all: when log-ins end is read by SHOW CREATE USER, which"
            " makes looks slower; what others change on defined roles is not seen",
            "upgrade ClickHouse to 26.2 or newer",
        )
    return ok("target abilities", subject, "tells all that is looked at")


def judge_rights(subject: str, account: str, lacking: Collection[Right]) -> Iterator[Finding]:
    """Yield one finding for each missing right, with the GRANT that gives it."""
    if not lacking:
        yield ok("target rights", subject, f"{account} has all that it needs")
    for right in lacking:
        names = ", ".join(name for name, _ in right.privilege.access)
        option = ", with the right to hand it on" if right.hand_on else ""
        yield fail(
            "target rights",
            subject,
            f"{account} lacks {names}{option}",
            f"{right.statement(account)};",
        )
