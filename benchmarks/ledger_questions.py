"""Fill a ledger with millions of events, and ask it what auditors ask.

    python benchmarks/ledger_questions.py --events 10000000

Makes a sandbox server of its own unless --url names a ClickHouse, makes the ledger's tables there,
and fills them with one tenant's years: users, groups, who joined and left them, the statements that
followed, what users then held. Each question is asked as its command asks it; printed is how long
the server took, once cold and then the best of three.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.config.ledger import LedgerSettings
from app.sandbox.ports import choose_ports
from workers.ledger import questions
from workers.ledger.questions import Filter, Question
from workers.ledger.schema import migrate
from workers.ledger.store import READ_S, Store

TENANT = "acme"
USERS_PER_EVENT = 0.02
_PART = 1_000_000
_BEGAN = "toDateTime64('2024-01-01 00:00:00', 3, 'UTC')"

# Each event: of ten, one makes a user, three change one, the rest are members of groups that come
# and go; of a hundred, one deactivates somebody. Who it is about follows from its number alone.
EVENTS = """
INSERT INTO events (tenant, seq, at, op, type, resource_id, added, removed, left, request_id,
    token_id, name, ip, agent, before, after, salt, personal, hash)
WITH
    number + 1 AS seq,
    number % 10 AS kind,
    kind < 4 AS is_user,
    number % 100 = 3 AS leaves,
    intHash64(number) % {users} AS who,
    intHash64(number + 7) % {groups} AS which,
    concat('user-', toString(who)) AS user_id,
    concat('person', toString(who), '@acme.example') AS user_name,
    concat('{{"active":', if(leaves, 'false', 'true'), ',"displayName":"Person ', toString(who),
        '","emails":[{{"value":"', user_name, '","primary":true}}],"externalId":"x-',
        toString(who), '","schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"title":"t',
        toString(number % 97), '","userName":"', user_name, '"}}') AS document
SELECT
    '{tenant}', seq, {began} + toIntervalMillisecond(number * 6000),
    if(is_user, if(kind = 0, 'created', 'updated'), 'updated'),
    if(is_user, 'user', 'group'),
    if(is_user, user_id, concat('group-', toString(which))),
    if(kind IN (4, 5, 6), [user_id], []), if(kind > 6, [user_id], []), leaves,
    concat('req-', toString(number)), concat('token-', toString(number % 4)),
    if(is_user, user_name, concat('Group ', toString(which))),
    '203.0.113.7', 'Okta SCIM Client 1.0.0', if(is_user AND kind != 0, document, ''),
    if(is_user, document, ''), hex(intHash64(number)),
    hex(SHA256(toString(number))), hex(SHA256(toString(number + 1)))
FROM numbers({first}, {count})
"""
# For each event of members, and each deactivation, on two targets: a statement, and what is held.
STATEMENTS = """
INSERT INTO statements (tenant, id, version, target, epoch, seqs, requests, users, resources, roles,
    action, text, at, duration_ms, result)
WITH intHash64(number) % {users} AS who, concat('role', toString(number % 40)) AS role,
    concat('person', toString(who), '@acme.example') AS user
SELECT '{tenant}', concat('scim-', toString(number), '-', target), 2, target, 1, [number + 1],
    [concat('req-', toString(number))], [user], [concat('user-', toString(who))], [role], 'Grant',
    concat('GRANT `', role, '` TO `', user, '`'),
    {began} + toIntervalMillisecond(number * 6000 + 200), 3.5, 'done'
FROM numbers({first}, {count}) ARRAY JOIN ['eu', 'us'] AS target
WHERE number % 10 >= 3
"""
ACCESS = """
INSERT INTO access (tenant, id, target, user, resource, seq, state, roles, explained, at)
WITH intHash64(number) % {users} AS who, concat('person', toString(who), '@acme.example') AS name,
    arrayMap(one -> concat('role', toString(one % 40)), range(number % 5)) AS held
SELECT '{tenant}', concat(target, '/', toString(number)), target, name,
    concat('user-', toString(who)), number + 1, if(number % 100 = 3, 'locked', 'active'),
    if(number % 100 = 3, [], if(number % 1000 = 999, arrayPushBack(held, 'foreign'), held)),
    held, {began} + toIntervalMillisecond(number * 6000 + 400)
FROM numbers({first}, {count}) ARRAY JOIN ['eu', 'us'] AS target
WHERE number % 10 >= 3
"""


@asynccontextmanager
async def server(url: str | None) -> AsyncIterator[LedgerSettings]:
    if url is not None:
        yield LedgerSettings(url=url)
        return
    import random  # noqa: PLC0415
    import sys  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="ledger-questions-") as folder:
        port = choose_ports(["clickhouse"], {}, random.Random())["clickhouse"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app.sandbox.clickhouse"),
            *("--port", str(port), "--data-dir", str(Path(folder) / "clickhouse")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        await process.stdout.readline()
        try:
            yield LedgerSettings(url=f"clickhouse://default@127.0.0.1:{port}/ledger")
        finally:
            process.terminate()
            await process.wait()


async def fill(store: Store, events: int) -> None:
    users, groups = max(100, int(events * USERS_PER_EVENT)), 2000
    for first in range(0, events, _PART):
        started = time.monotonic()
        for sql in (EVENTS, STATEMENTS, ACCESS):
            await store.query(
                sql.format(
                    tenant=TENANT,
                    began=_BEGAN,
                    users=users,
                    groups=groups,
                    first=first,
                    count=min(_PART, events - first),
                )
            )
        took_s = time.monotonic() - started
        print(f"  {min(first + _PART, events):>12,} events ({took_s:.1f} s)", flush=True)


def asked(events: int) -> dict[str, Question]:
    """Return the questions about somebody and some time in the middle of it all."""
    middle = datetime(2024, 1, 1, tzinfo=UTC).timestamp() + events * 6 / 2
    at = datetime.fromtimestamp(middle, UTC)
    quarter = datetime.fromtimestamp(middle + 90 * 86_400, UTC)
    who = "person42@acme.example"
    some = Filter(most=10_000)
    return {
        "who held a role then (audit holders, access show --at)": questions.holders(
            TENANT, at, role="role2"
        ),
        "what somebody held then": questions.holders(TENANT, at, user=who),
        "everything about a person": questions.person(TENANT, who, some),
        "the events of a person": questions.events(Filter(tenant=TENANT, user=who)),
        "the statements about a person": questions.statements(Filter(tenant=TENANT, user=who)),
        "what a request did": questions.events(Filter(tenant=TENANT, request="req-1234567")),
        "its statements": questions.statements(Filter(tenant=TENANT, request="req-1234567")),
        "all changes by a token (the first 10,000)": questions.by_token(TENANT, "token-1", some),
        "access that nobody's group explains": questions.unexplained(TENANT, at, 10_000),
        "leavers of a quarter": questions.leavers(TENANT, at, quarter, 1_000_000),
        "their percentiles": questions.percentiles(TENANT, at, quarter),
    }


async def run(events: int, url: str | None, *, keep: bool) -> int:
    async with server(url) as settings:
        await migrate(settings)
        store = Store(settings, seconds=READ_S)
        ((there,),) = await store.query("SELECT count() FROM events")
        if not (keep and there >= events):
            await fill(store, events)
        rows = await store.query(
            "SELECT table, sum(rows), formatReadableSize(sum(bytes_on_disk)) FROM system.parts"
            " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table"
        )
        for table, count, size in rows:
            print(f"  {table:<16} {count:>14,} rows {size:>12}")
        for name, question in asked(events).items():
            took = []
            for _ in range(3):
                started = time.monotonic()
                found = await store.query(question.sql)
                took.append(time.monotonic() - started)
            print(f"  {name:<56} {took[0]:6.2f} s, then {min(took):6.2f} s  {len(found):>8,} rows")
        await store.close()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--url", help="of a ledger to be filled: clickhouse://user@host:port/db")
    parser.add_argument("--keep", action="store_true", help="Don't fill one that is full already.")
    given = parser.parse_args(arguments)
    return asyncio.run(run(given.events, given.url, keep=given.keep))


if __name__ == "__main__":
    raise SystemExit(main())
