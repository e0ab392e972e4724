"""Everything at once: two tenants on two targets, several clients, and random faults everywhere.

The suite runs it for a few seconds with one seed. `make chaos` runs it for longer; CHAOS_SEED and
CHAOS_SECONDS choose. The seed decides which changes and which faults come in which order; when
exactly they meet is up to the machine.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from app.directory.events import read
from app.directory.keys import Keys
from app.errors import DirectoryUnavailable
from app.sandbox.session import Refused, Unreachable, log_in

if TYPE_CHECKING:
    from tests.e2e.conftest import Company, World

SEED = int(os.environ.get("CHAOS_SEED", "20261124"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "12"))
TENANTS, TARGETS = ("acme", "globex"), ("main", "second")
WITH_PASSWORDS = "globex"
GROUPS = ("Data Analysts", "Data Engineers", "Business Intelligence", "Marketing")

# How long each is stopped at most: a worker for longer than its lease.
STOPPED_S = {"receiver": 2.0, "worker": 8.0, "redis": 2.0, "clickhouse": 4.0}


@dataclass(slots=True)
class Faults:
    """Kills with SIGKILL, or stops for a while, one process after the other."""

    world: World
    rng: random.Random
    done: list[str] = field(default_factory=list)
    _stopped: set[int] = field(default_factory=set)

    async def run(self, until: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            while time.monotonic() < until:
                await asyncio.sleep(self.rng.uniform(0.3, 1.5))
                part = self.rng.choice([*STOPPED_S])
                pid = self.rng.choice(self._pids(part) or [0])
                if not pid or pid in self._stopped:
                    continue
                if self.rng.random() < 0.5:
                    self._send(pid, signal.SIGKILL, part)
                else:
                    seconds = self.rng.uniform(0.2, STOPPED_S[part])
                    tasks.create_task(self._stop(pid, part, seconds))

    def _pids(self, part: str) -> list[int]:
        found = self.world.pids()[part]
        if isinstance(found, dict):
            found = list(found.values())
        return [pid for pid in (found if isinstance(found, list) else [found]) if pid]

    def _send(self, pid: int, number: signal.Signals, part: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.done.append(f"{number.name} {part}")

    async def _stop(self, pid: int, part: str, seconds: float) -> None:
        self._stopped.add(pid)
        self._send(pid, signal.SIGSTOP, f"{part} for {seconds:.1f} s")
        try:
            await asyncio.sleep(seconds)
        finally:
            self._send(pid, signal.SIGCONT, part)
            self._stopped.discard(pid)


@dataclass(slots=True)
class Watch:
    """Looks all the time whether somebody has again what was taken. `due`: the event with which a
    loss is surely applied to a target, by target, person and what it is of. `checks`: how often one
    was looked at after that.
    """

    world: World
    companies: dict[str, Company]
    due: dict[tuple[str, tuple[str, int], str], int] = field(default_factory=dict)
    looks: int = 0
    checks: int = 0
    back: list[str] = field(default_factory=list)

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            for tenant in TENANTS:
                for target in TARGETS:
                    with suppress(
                        Refused, Unreachable, OSError, TimeoutError, DirectoryUnavailable
                    ):
                        await self._look(tenant, target)
            await asyncio.sleep(0.1)

    async def _look(self, tenant: str, target: str) -> None:
        view, people = self.world.view(tenant), self.companies[tenant]
        roles = {entry.group or "": frozenset(entry.roles) for entry in view.tenant.groups}
        roles[""] = frozenset(view.tenant.default_roles)
        before, last_seq = people.lacking(roles), self.world.idps[tenant].last_seq
        async with asyncio.timeout(5):
            applied = (await self.world.lane(tenant, target).status()).applied_seq
            access = await self.world.access(tenant, target)
        after = people.lacking(roles)
        self.looks += 1
        lost = {
            (target, one, what): view.user(name)
            for one, (name, theirs) in before.items()
            if one in after
            for what in theirs & after[one].what
        }
        self.due = {
            key: seq
            for key, seq in self.due.items()
            if key in lost or key[0] != target or key[1] not in before.keys() & after.keys()
        }
        for key, name in lost.items():
            seen, what = access.get(name), key[2]
            if applied < self.due.setdefault(key, last_seq):
                continue
            self.checks += 1
            if seen is not None and what in people.had_by(seen):
                self.back.append(f"{name} on {target} has {what} again")


async def test_after_any_faults_directory_and_targets_are_what_was_acknowledged(
    worlds: Callable[..., AbstractAsyncContextManager[World]],
    company: type[Company],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    method = f"CLICKHOUSE_SCIM__TENANTS__{WITH_PASSWORDS.upper()}__AUTHENTICATION__METHOD"
    monkeypatch.setenv(method, "password")
    arguments = ("--tenants", ",".join(TENANTS), "--targets", str(len(TARGETS)), "--workers", "2")
    async with worlds(*arguments) as world:
        companies = {
            tenant: company(
                world.idps[tenant],
                SEED + number,
                people=40,
                at_once=4,
                passwords=tenant == WITH_PASSWORDS,
            )
            for number, tenant in enumerate(TENANTS)
        }
        for people in companies.values():
            await people.found(GROUPS)
        end = time.monotonic() + SECONDS
        faults, watch = Faults(world, random.Random(SEED)), Watch(world, companies)

        async def traffic(people: Company) -> None:
            while time.monotonic() < end:
                await people.change(10)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(faults.run(end))
            tasks.create_task(watch.run(end))
            for people in companies.values():
                tasks.create_task(traffic(people))
        told = f"seed {SEED}: {sum(c.done for c in companies.values())} changes, {faults.done}"
        print(told, watch.looks, watch.checks)  # noqa: T201 - for whoever runs it by hand
        for tenant, people in companies.items():
            assert await people.differences_in_directory() == [], told
            for target in TARGETS:
                status = await world.idle(tenant, target, deadline_s=90)
                assert status.dead_letters == 0, told
                access = await world.access(tenant, target)
                assert people.differences_on_target(world.view(tenant), access) == [], told
                assert await world.leftovers(tenant, target) == {}, told
                assert await shut_out(world, tenant, target, people.passwords()) == [], told
            await each_change_is_in_the_log_once(world, tenant)
        assert watch.back == [], f"{told}: {watch.back}"
        assert watch.looks


async def shut_out(
    world: World, tenant: str, target: str, passwords: Mapping[str, str]
) -> list[str]:
    """Return who does not get in by the password that was pushed last, or does by another."""
    view, url = world.view(tenant), world.url(target)
    return [
        name
        for name, password in passwords.items()
        if not await gets_in(url, view.user(name), password)
        or await gets_in(url, view.user(name), f"not {password}")
    ]


async def gets_in(url: str, user: str, password: str) -> bool:
    _, _, where = url.partition("@")
    who = f"{quote(user, safe='')}:{quote(password, safe='')}"
    try:
        async with log_in(f"clickhouse://{who}@{where}") as session:
            await session.rows("SELECT 1")
    except Refused:
        return False
    return True


async def each_change_is_in_the_log_once(world: World, tenant: str) -> None:
    keys, seqs, created = Keys(tenant), list[int](), list[str]()
    while page := await read(world.link, keys, seqs[-1] if seqs else 0, 500):
        seqs += [event.seq for event in page]
        created += [event.id for event in page if event.op == "created"]
    assert seqs == list(range(1, len(seqs) + 1))
    assert_unique(created)


def assert_unique(ids: Sequence[str]) -> None:
    assert len(ids) == len(set(ids))
