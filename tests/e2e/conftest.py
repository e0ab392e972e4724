"""A sandbox of one's own, an identity provider that repeats itself, and a company that changes.

Everything goes through public surfaces: the command's line of JSON, SCIM over HTTP, the target as
its administrator sees it, and the state of a lane.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import unicodedata
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, assert_never, get_args
from urllib.parse import quote

import aiohttp
import msgspec
import pytest

from app.config.load import load
from app.directory.keys import Keys
from app.directory.lanes import LaneStatus, LaneStore
from app.directory.link import Link, connect
from app.errors import DirectoryUnavailable
from app.sandbox.cast import Expected
from app.sandbox.observed import TenantView, differences, observe
from app.sandbox.running import Sandbox, start
from app.sandbox.session import Row, log_in

T = TypeVar("T")

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"

Dialect = Literal["rfc", "entra", "okta", "okta wizard"]  # how providers say `active`
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
WAY_IN = "a way in"  # beside the names of roles

BY_HAND = (
    "CREATE DATABASE handmade",
    "CREATE TABLE handmade.facts (x UInt8, owner String) ENGINE = MergeTree ORDER BY x",
    "CREATE SETTINGS PROFILE slow SETTINGS max_threads = 2, readonly = 1",
    "CREATE ROLE on_call SETTINGS max_memory_usage = 4000000000",
    "CREATE ROLE `night shift`",
    "CREATE USER reporting_bot IDENTIFIED WITH sha256_password BY 'x' SETTINGS PROFILE 'slow'",
    "CREATE USER `o'hara \\`the DBA\\`` IDENTIFIED WITH no_password HOST IP '10.0.0.0/8'",
    "CREATE USER user1 IDENTIFIED WITH no_password",  # almost a name that a company gives out
    "GRANT SELECT ON handmade.* TO reporting_bot, on_call",
    "REVOKE SELECT(owner) ON handmade.facts FROM on_call",
    "GRANT on_call TO `night shift`, `o'hara \\`the DBA\\`` WITH ADMIN OPTION",
    "CREATE ROW POLICY mine ON handmade.facts USING owner = currentUser() TO reporting_bot",
    "CREATE QUOTA hourly FOR INTERVAL 1 hour MAX queries = 1000 TO on_call",
)
SHOWN = (
    *(
        f"SHOW {what} {name}"
        for name in ("reporting_bot", "user1", "`o'hara \\`the DBA\\``", "default", "provisioner")
        for what in ("CREATE USER", "GRANTS FOR")
    ),
    *(
        f"SHOW {what} {name}"
        for name in ("on_call", "`night shift`")
        for what in ("CREATE ROLE", "GRANTS FOR")
    ),
    "SHOW CREATE SETTINGS PROFILE slow",
    "SHOW CREATE ROW POLICY mine ON handmade.facts",
    "SHOW CREATE QUOTA hourly",
)

DEADLINE_S = 60.0
_POLL_S = 0.02
_ANSWER_S = 20.0

# As long as an identity provider goes on repeating a request here; a restart takes a few seconds.
PATIENCE_S = 60.0


async def until(what: str, condition: Callable[[], Awaitable[T | None]], deadline_s: float) -> T:
    """Return what `condition` returns once that is true in Python's sense; fail after the deadline.

    The last thing that it returned or raised is in the failure.
    """
    end = time.monotonic() + deadline_s
    while True:
        seen: object
        try:
            result = await condition()
            if result:
                return result
            seen = result
        except (DirectoryUnavailable, OSError) as error:
            seen = error
        assert time.monotonic() < end, f"{what}: not within {deadline_s:g} s; last seen: {seen!r}"
        await asyncio.sleep(_POLL_S)


@dataclass(frozen=True, slots=True)
class Answer:
    """`unsure`: an earlier sending of the same request may have been carried out."""

    status: int
    seq: int
    json: Any
    unsure: bool = False


@dataclass(slots=True)
class Idp:
    """An identity provider's connection to one tenant.

    It repeats a request word for word while it gets no answer, or a 503, as they all do. `last_seq`
    is that of the newest acknowledged write.
    """

    http: aiohttp.ClientSession
    base_url: str
    token: str
    last_seq: int = 0
    repeats: int = 0
    unsure_conflicts: int = 0

    async def send(self, method: str, path: str, body: object = None) -> Answer:
        """Return the final answer, whatever it is."""
        end, unsure = time.monotonic() + PATIENCE_S, False
        while True:
            try:
                answer = await self._once(method, path, body)
                if answer.status != 503:
                    break
                reason = f"503 {answer.json}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = repr(error)
            unsure = True
            self.repeats += 1
            assert time.monotonic() < end, f"{method} {path}: no answer; last: {reason}"
            await asyncio.sleep(0.05)
        if method != "GET" and answer.status < 300:
            self.last_seq = max(self.last_seq, answer.seq)
        return Answer(answer.status, answer.seq, answer.json, unsure)

    async def _once(self, method: str, path: str, body: object) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}"}
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            headers["Content-Type"] = "application/scim+json"
        async with self.http.request(
            method, self.base_url + path, data=data, headers=headers
        ) as response:
            raw = await response.read()
            seq = int(response.headers.get("X-Event-Seq", "0"))
            return Answer(response.status, seq, msgspec.json.decode(raw) if raw else None)

    async def write(self, method: str, path: str, body: object = None) -> Any:
        """Send a write that has to succeed; return the resource, if the answer has it."""
        answer = await self.send(method, path, body)
        gone_already = method == "DELETE" and answer.unsure and answer.status == 404
        assert answer.status < 300 or gone_already, (method, path, answer)
        return answer.json

    async def create_user(self, name: str, **attributes: object) -> str:
        """Return the new user's id; after a lost answer, of the one that the name belongs to."""
        body = {"schemas": [USER], "userName": name, "active": True, **attributes}
        return await self._create("Users", f"userName eq {_quoted(name)}", body)

    async def create_group(self, name: str, members: Collection[str] = (), **more: object) -> str:
        body = {"schemas": [GROUP], "displayName": name, "members": _values(members), **more}
        return await self._create("Groups", f"displayName eq {_quoted(name)}", body)

    async def _create(self, endpoint: str, filter_: str, body: object) -> str:
        answer = await self.send("POST", f"/{endpoint}", body)
        if answer.status == 409 and answer.unsure:
            self.unsure_conflicts += 1
            found = await self.send("GET", f"/{endpoint}?filter={quote(filter_)}")
            (resource,) = found.json["Resources"]
            return str(resource["id"])
        assert answer.status == 201, answer
        return str(answer.json["id"])

    async def patch(self, path: str, op: str, attribute: str, value: object = None) -> None:
        operation = {"op": op, "path": attribute} | ({} if value is None else {"value": value})
        await self.write("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})

    async def set_active(self, user: str, *, active: bool) -> None:
        await self.patch(f"/Users/{user}", "replace", "active", active)

    async def switch(self, dialect: Dialect, user: str, name: str, *, active: bool) -> None:
        """Deactivate or reactivate as this provider says it."""
        path = f"/Users/{user}"
        match dialect:
            case "rfc":
                await self.set_active(user, active=active)
            case "entra":
                await self.patch(path, "Replace", "active", str(active))
            case "okta":
                operation = {"op": "replace", "value": {"active": active}}
                await self.write("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})
            case "okta wizard":
                body = {"schemas": [USER], "id": user, "userName": name, "active": active}
                await self.write("PUT", path, body)
            case other:
                assert_never(other)

    async def switch_all(self, users: Mapping[str, bool]) -> None:
        """Deactivate and reactivate several people by one Bulk request, by id."""
        operations = [
            {
                "method": "PATCH",
                "path": f"/Users/{user}",
                "data": {
                    "schemas": [PATCH],
                    "Operations": [{"op": "replace", "path": "active", "value": active}],
                },
            }
            for user, active in users.items()
        ]
        body = {"schemas": [BULK], "Operations": operations}
        while True:
            done = await self.write("POST", "/Bulk", body)
            refused = {one["status"] for one in done["Operations"] if int(one["status"]) >= 300}
            if not refused:
                return
            assert refused == {"503"}, done  # Redis went away in the middle: all over again

    async def rename(self, user: str, name: str) -> None:
        await self.patch(f"/Users/{user}", "replace", "userName", name)

    async def rename_group(self, group: str, name: str) -> None:
        await self.patch(f"/Groups/{group}", "replace", "displayName", name)

    async def delete_user(self, user: str) -> None:
        await self.write("DELETE", f"/Users/{user}")

    async def join(self, group: str, *members: str) -> None:
        await self.patch(f"/Groups/{group}", "add", "members", _values(members))

    async def leave(self, group: str, member: str) -> None:
        await self.patch(f"/Groups/{group}", "remove", f'members[value eq "{member}"]')

    async def put_group(self, group: str, name: str, members: Collection[str]) -> None:
        body = {"schemas": [GROUP], "id": group, "displayName": name, "members": _values(members)}
        await self.write("PUT", f"/Groups/{group}", body)

    async def everything(self, endpoint: str) -> list[dict[str, Any]]:
        """Return all resources, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"/{endpoint}?startIndex={len(found) + 1}&count=500"
            page = (await self.send("GET", path)).json
            found += page.get("Resources", [])
            if len(found) >= page["totalResults"] or not page.get("Resources"):
                return found


def _values(members: Collection[str]) -> list[dict[str, str]]:
    return [{"value": member} for member in members]


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running sandbox and everybody's way into it."""

    sandbox: Sandbox
    folder: Path
    http: aiohttp.ClientSession
    link: Link
    idps: Mapping[str, Idp]

    @property
    def idp(self) -> Idp:
        """The only tenant's."""
        (idp,) = self.idps.values()
        return idp

    def url(self, target: str = "main") -> str:
        return self.sandbox.line.clickhouse[target]

    async def sql(self, statement: str, target: str = "main") -> list[Row]:
        """Run a statement as the target's administrator."""
        async with log_in(self.url(target)) as administrator:
            return await administrator.rows(statement)

    def view(self, tenant: str = "acme") -> TenantView:
        settings = load(Path(self.sandbox.line.config), {})
        return TenantView(tenant, settings.tenants[tenant])

    async def access(self, tenant: str = "acme", target: str = "main") -> dict[str, Expected]:
        """Return what the tenant's users hold on the target, by ClickHouse name."""
        async with log_in(self.url(target)) as administrator:
            return self.view(tenant).managed(await observe(administrator))

    def pids(self) -> dict[str, Any]:
        """Return the processes that run now; a restart changes them."""
        found: dict[str, Any] = msgspec.json.decode((self.folder / "pids.json").read_bytes())
        return found

    def pid(self, part: str) -> int | None:
        """Return the process of `receiver`, `worker` (the first), `redis` or `clickhouse`."""
        found = self.pids()[part]
        if isinstance(found, dict):
            found = found["main"]
        elif isinstance(found, list):
            found = found[0] if found else None
        return None if found is None else int(found)

    async def kill(self, part: str) -> None:
        """Kill it with SIGKILL; returns once the supervisor has started another one."""
        before = self.pid(part)
        assert before is not None, f"{part} does not run"
        os.kill(before, signal.SIGKILL)

        async def is_another() -> bool:
            return self.pid(part) not in {None, before}

        await until(f"{part} runs again", is_another, DEADLINE_S)

    def lane(self, tenant: str = "acme", target: str = "main") -> LaneStore:
        return LaneStore(self.link, tenant, target)

    async def idle(
        self, tenant: str = "acme", target: str = "main", *, deadline_s: float = DEADLINE_S
    ) -> LaneStatus:
        """Return the lane's state once it has everything that was acknowledged and is at rest."""
        store, keys, redis = self.lane(tenant, target), Keys(tenant), self.link.redis

        async def at_rest() -> LaneStatus | None:
            status = await store.status()
            waiting = [
                await self.link.call(redis.hexists(keys.dirty, target)),  # type: ignore[arg-type]
                await self.link.call(redis.exists(keys.lane("todo", target))),
                await self.link.call(redis.hexists(keys.lane("lane", target), "resync")),  # type: ignore[arg-type]
            ]
            seq = max(status.last_seq, self.idps[tenant].last_seq)
            done = status.applied_seq >= seq and status.state == "idle" and not any(waiting)
            return status if done else None

        return await until(f"lane {store} is at rest", at_rest, deadline_s)

    async def resync(self, tenant: str = "acme", target: str = "main") -> None:
        """Have the lane go through everybody; returns when it is done."""
        await self.sandbox.command_json("lane", "resync", tenant, target)
        await self.idle(tenant, target)

    async def leftovers(self, tenant: str = "acme", target: str = "main") -> dict[str, object]:
        """Return what a lane at rest must not have: empty if all is well."""
        redis, keys = self.link.redis, Keys(tenant)
        names = await redis.hgetall(keys.lane("names", target))  # type: ignore[misc]
        holders = await redis.hgetall(keys.lane("holders", target))  # type: ignore[misc]
        found = {
            "intents": await redis.hgetall(keys.lane("intents", target)),  # type: ignore[misc]
            "todo": await redis.zrange(keys.lane("todo", target), 0, -1),
            "lease": await redis.get(keys.lane("lease", target)),
            "names without holder": {i: n for i, n in names.items() if holders.get(n) != i},
            "holders without name": {n: i for n, i in holders.items() if names.get(i) != n},
            "lag": (await self.lane(tenant, target).status()).lag_seconds,
        }
        return {what: value for what, value in found.items() if value}


class ByHand:
    """What an administrator has made by hand on a target: none of it is ours to change."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before: list[Row] = []

    async def make(self) -> None:
        async with log_in(self._url) as administrator:
            for statement in BY_HAND:
                await administrator.rows(statement)
        self._before = await self.shown()

    async def shown(self) -> list[Row]:
        """Return how the server shows all of it, and who else exists beside what is managed."""
        async with log_in(self._url) as administrator:
            rows = [row for statement in SHOWN for row in await administrator.rows(statement)]
            assert all(rows), rows
            return rows

    async def changes(self) -> list[Row]:
        """Return what is shown in another way than before."""
        now = await self.shown()
        return [row for row in [*now, *self._before] if row not in now or row not in self._before]


@pytest.fixture(scope="session", autouse=True)
def without_brake() -> Iterator[None]:
    """A company of forty changes in seconds here, which the brake would take for an accident."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKHOUSE_SCIM__GUARD__MAX_SHARE", "1")
        yield


@asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[World]:
    """Run `clickhouse-scim sandbox --json ARGUMENTS` for as long as this is open."""
    async with start(folder, *arguments) as sandbox:
        link = connect(sandbox.line.redis)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            # aiohttp would repeat a PUT or a DELETE by itself and tell nobody.
            http._retry_connection = False
            try:
                yield World(
                    sandbox=sandbox,
                    folder=folder,
                    http=http,
                    link=link,
                    idps={
                        tenant: Idp(http, endpoint.base_url, endpoint.token)
                        for tenant, endpoint in sandbox.line.scim.items()
                    },
                )
            finally:
                await link.close()


@dataclass(slots=True)
class Employee:
    """What was acknowledged about a person. `id` never changes; who is deleted is in no list.

    `changes`: how many were begun.
    """

    id: str
    name: str
    active: bool = True
    password: str = ""
    changes: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Team:
    """`mapped`: what it was called when the role map found it. `nested`: ids of groups in it."""

    id: str
    name: str
    mapped: str
    members: set[str] = field(default_factory=set)
    nested: set[str] = field(default_factory=set)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Lacking(NamedTuple):
    """Somebody by userName, and what is not to be had: roles, and WAY_IN."""

    name: str
    what: frozenset[str]


class Company:
    """Makes random changes, several at once, and knows what the receiver has acknowledged.

    Each change waits for its answer; two changes never concern one person or one group at the same
    time, so what is known is what the directory must hold.
    """

    def __init__(
        self, idp: Idp, seed: int, *, people: int, at_once: int = 8, passwords: bool = False
    ) -> None:
        """`passwords`: whether it pushes some."""
        self.idp, self._passwords = idp, passwords
        self.done = 0
        self._rng = random.Random(seed)
        self._people, self._at_once = people, at_once
        self._employees: dict[str, Employee] = {}
        self._teams: list[Team] = []
        self._free: list[str] = []  # names of people who were deleted
        self._number = 0

    async def found(self, groups: Collection[str]) -> None:
        """Push the groups, and as many people as the company begins with."""
        for name in groups:
            self._teams.append(Team(await self.idp.create_group(name), name, name))
        for _ in range(self._people // 2):
            await self._hire()

    async def change(self, count: int) -> None:
        """Make `count` changes: a rename over a third name, or a new start, is more than one."""
        end = self.done + count

        async def work() -> None:
            while self.done < end:
                await self._change_something()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._at_once):
                tasks.create_task(work())

    async def _change_something(self) -> None:
        if len(self._employees) < self._people // 3:
            return await self._hire()
        kinds: dict[Callable[[], Awaitable[None]], int] = {
            self._hire: 10 if len(self._employees) < self._people else 0,
            self._hire_under_an_old_name: 8,
            self._join: 22,
            self._leave: 12,
            self._push_whole_group: 8,
            self._switch: 18,
            self._switch_some: 3,
            self._rename_group: 2,
            self._nest: 3,
            self._take_apart: 3,
            self._push_password: 6 if self._passwords else 0,
            self._rename: 8,
            self._pass_a_name_on: 4,
            self._swap_names: 3,
            self._delete: 8,
            self._delete_and_start_again: 4,
        }
        (kind,) = self._rng.choices([*kinds], [*kinds.values()])
        return await kind()

    def _new_name(self) -> str:
        self._number += 1
        return f"user{self._number}@acme.example"

    @asynccontextmanager
    async def _somebody(self) -> AsyncIterator[Employee | None]:
        """Hold a person whom no other change concerns; None if there is none."""
        free = [e for e in self._employees.values() if not e.lock.locked()]
        if not free:
            await asyncio.sleep(0)
            yield None
            return
        somebody = self._rng.choice(free)
        async with somebody.lock:
            somebody.changes += 1
            yield somebody

    def _begin(self, people: Iterable[str]) -> None:
        """Note that a change begins which may give these people something."""
        for one in people:
            if one in self._employees:
                self._employees[one].changes += 1

    def _teams_above(self, team: Team) -> list[Team]:
        """Return it, and every team that it is in, also through others."""
        above = [team]
        for one in above:
            above += [t for t in self._teams if one.id in t.nested and t not in above]
        return above

    def _people_below(self, team: Team) -> set[str]:
        """Return everybody who is in it, also through other teams."""
        return {i for one in self._teams if team in self._teams_above(one) for i in one.members}

    def _teams_of(self, person: str) -> list[Team]:
        direct = [team for team in self._teams if person in team.members]
        return [above for team in direct for above in self._teams_above(team)]

    def lacking(self, roles: Mapping[str, frozenset[str]]) -> dict[tuple[str, int], Lacking]:
        """Return, by id and number of changes, what those people are not to have of whom nothing is
        under way. `roles`: by the name of a group, those of everybody by "".
        """
        every = frozenset({WAY_IN}).union(*roles.values())
        changing = [team for team in self._teams if team.lock.locked()]
        unsure = frozenset().union(
            *(roles[above.mapped] for team in changing for above in self._teams_above(team))
        )
        found = {}
        for e in self._employees.values():
            if not e.lock.locked():
                theirs = [roles[team.mapped] for team in self._teams_of(e.id)]
                right = frozenset({WAY_IN}).union(roles[""], unsure, *theirs)
                found[e.id, e.changes] = Lacking(e.name, every - right if e.active else every)
        return found

    @staticmethod
    def had_by(seen: Expected) -> frozenset[str]:
        """Return what somebody has of what `lacking` tells."""
        return seen.roles | ({WAY_IN} if seen.state == "open" else frozenset())

    async def _hire(self) -> None:
        await self._hire_as(self._new_name())

    async def _hire_under_an_old_name(self) -> None:
        if self._free:
            await self._hire_as(self._free.pop(self._rng.randrange(len(self._free))))

    async def _hire_as(self, name: str) -> None:
        active = self._rng.random() < 0.9
        self.done += 1
        user = await self.idp.create_user(name, active=active)
        self._employees[user] = Employee(user, name, active)

    async def _join(self) -> None:
        team = self._rng.choice(self._teams)
        async with team.lock:
            people = self._rng.sample(sorted(self._employees), min(len(self._employees), 3))
            self.done += 1
            self._begin(people)
            await self.idp.join(team.id, *people)
            team.members.update(people)

    async def _leave(self) -> None:
        team = self._rng.choice(self._teams)
        async with team.lock:
            if team.members:
                member = self._rng.choice(sorted(team.members))
                self.done += 1
                await self.idp.leave(team.id, member)
                team.members.discard(member)

    async def _push_whole_group(self) -> None:
        team = self._rng.choice(self._teams)
        async with team.lock:
            some = self._rng.sample(sorted(self._employees), len(self._employees) // 3)
            self.done += 1
            self._begin(some)
            await self.idp.put_group(team.id, team.name, [*some, *sorted(team.nested)])
            team.members = set(some)

    async def _rename_group(self) -> None:
        """It keeps its roles: the role map knows it by its id since it was found."""
        team = self._rng.choice(self._teams)
        async with team.lock:
            self._number += 1
            self.done += 1
            name = f"{team.mapped} {self._number}"
            await self.idp.rename_group(team.id, name)
            team.name = name

    async def _nest(self) -> None:
        """Put a team into another, never round in a circle."""
        at = self._rng.randrange(len(self._teams) - 1)
        outer, inner = self._teams[at], self._rng.choice(self._teams[at + 1 :])
        async with outer.lock, inner.lock:
            if inner.id not in outer.nested:
                self.done += 1
                self._begin(self._people_below(inner))
                await self.idp.join(outer.id, inner.id)
                outer.nested.add(inner.id)

    async def _take_apart(self) -> None:
        outer = self._rng.choice(self._teams)
        async with outer.lock:
            if outer.nested:
                inner = self._rng.choice(sorted(outer.nested))
                self.done += 1
                await self.idp.leave(outer.id, inner)
                outer.nested.discard(inner)

    async def _switch(self) -> None:
        async with self._somebody() as one:
            if one is not None:
                self.done += 1
                dialect = self._rng.choice(DIALECTS)
                await self.idp.switch(dialect, one.id, one.name, active=not one.active)
                one.active = not one.active

    async def _switch_some(self) -> None:
        async with self._somebody() as one, self._somebody() as other:
            some = [person for person in (one, other) if person is not None]
            if some:
                self.done += 1
                await self.idp.switch_all({person.id: not person.active for person in some})
                for person in some:
                    person.active = not person.active

    async def _push_password(self) -> None:
        async with self._somebody() as one:
            if one is not None:
                self.done += 1
                password = f"S3cret of {one.id} {one.changes}"
                await self.idp.patch(f"/Users/{one.id}", "replace", "password", password)
                one.password = password

    def passwords(self) -> dict[str, str]:
        """Return by what those who are to get in can get in, by userName."""
        people = self._employees.values()
        return {e.name: e.password for e in people if e.active and e.password}

    async def _rename(self) -> None:
        """Also to the same name in capitals, or in another normal form."""
        async with self._somebody() as one:
            if one is not None:
                local, _, domain = one.name.partition("@")
                name = self._rng.choice(
                    [
                        self._new_name(),
                        f"{local.swapcase()}@{domain}",
                        unicodedata.normalize("NFD", f"é{self._new_name()}"),
                    ]
                )
                await self._rename_to(one, name)

    async def _rename_to(self, one: Employee, name: str) -> None:
        self.done += 1
        await self.idp.rename(one.id, name)
        one.name = name

    async def _pass_a_name_on(self) -> None:
        """Somebody gets another name; the old one goes to somebody else, or to a newcomer."""
        async with self._somebody() as one, self._somebody() as other:
            if one is not None:
                name = one.name
                await self._rename_to(one, self._new_name())
                if other is not None and self._rng.random() < 0.5:
                    await self._rename_to(other, name)
                else:
                    await self._hire_as(name)

    async def _swap_names(self) -> None:
        async with self._somebody() as one, self._somebody() as other:
            if one is not None and other is not None:
                mine, yours = one.name, other.name
                await self._rename_to(one, self._new_name())
                await self._rename_to(other, mine)
                await self._rename_to(one, yours)

    async def _delete(self) -> None:
        async with self._somebody() as one:
            if one is not None:
                self._free.append(await self._delete_one(one))

    async def _delete_and_start_again(self) -> None:
        async with self._somebody() as one:
            if one is not None:
                await self._hire_as(await self._delete_one(one))

    async def _delete_one(self, one: Employee) -> str:
        self.done += 1
        await self.idp.delete_user(one.id)
        del self._employees[one.id]
        for team in self._teams:
            team.members.discard(one.id)
        return one.name

    async def differences_in_directory(self) -> list[str]:
        """Return what was acknowledged and is not there, or is there and was not asked for."""
        users = {
            user["id"]: (user["userName"], user["active"])
            for user in await self.idp.everything("Users")
        }
        wanted = {e.id: (e.name, e.active) for e in self._employees.values()}
        wrong = [
            f"{i}: {wanted.get(i)} acknowledged, {users.get(i)} found"
            for i in sorted(wanted.keys() | users.keys())
            if wanted.get(i) != users.get(i)
        ]
        groups = {group["id"]: group for group in await self.idp.everything("Groups")}
        for team in self._teams:
            members = {m["value"] for m in groups[team.id].get("members", [])} & wanted.keys()
            if members != team.members & wanted.keys():
                wrong.append(f"{team.name}: {members ^ (team.members & wanted.keys())}")
            nested = {m["value"] for m in groups[team.id].get("members", [])} & groups.keys()
            if nested != team.nested or groups[team.id]["displayName"] != team.name:
                wrong.append(f"{team.name}: {groups[team.id]['displayName']} holds {nested}")
        return wrong

    def differences_on_target(self, view: TenantView, seen: Mapping[str, Expected]) -> list[str]:
        """Return where the target holds something else than what was acknowledged."""
        role_map = {entry.group: frozenset(entry.roles) for entry in view.tenant.groups}
        default = frozenset(view.tenant.default_roles)
        wanted: dict[str, Expected] = {}
        for employee in self._employees.values():
            teams = self._teams_of(employee.id)
            roles = default.union(*(role_map.get(team.mapped, frozenset()) for team in teams))
            name = view.user(employee.name)
            wanted[name] = (
                Expected("open", roles) if employee.active else Expected("locked", frozenset())
            )
        return differences(wanted, seen)


@pytest.fixture
def by_hand() -> type[ByHand]:
    return ByHand


@pytest.fixture
def company() -> type[Company]:
    return Company


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A sandbox with one tenant, `acme`, on one target, `main`."""
    async with running(tmp_path) as one:
        yield one


@pytest.fixture
def worlds(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[World]]:
    """Return what starts a sandbox with arguments of one's own."""
    return partial(running, tmp_path)
