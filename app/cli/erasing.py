"""Taking a person out of the ledger, once everything about them is in it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from app.cli.actions import record_action
from app.cli.ledgers import require_ledger, told_plainly
from app.cli.linked import run_at
from app.cli.output import printable
from app.directory.keys import Keys
from app.directory.reader import Reader
from workers.ledger import erasure
from workers.ledger.erasure import Person
from workers.ledger.progress import LedgerLane
from workers.ledger.store import READ_S, Store

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.directory.link import Link

_WAIT_S, _POLL_S = 60.0, 0.2


@dataclass(frozen=True, slots=True)
class Found:
    person: Person
    events: int
    statements: int

    @property
    def ids(self) -> tuple[str, ...]:
        return self.person.ids


def find(settings: Settings, tenant: str, who: str) -> Found:
    """Return who that is. Raises ClickException if nobody is known so, or somebody is still there.

    Waits until the ledger has what Redis holds now, so that nothing comes after the erasure.
    """
    ledger = require_ledger(settings)
    run_at(settings, tenant, lambda link: _until_written(link, tenant))

    async def asked() -> Found:
        store = Store(ledger, seconds=READ_S)
        try:
            ids = tuple(row[0] for row in await store.query(erasure.find_ids(tenant, who)))
            if not ids:
                raise click.ClickException(f"the ledger knows nobody as {printable(who)}")
            names = await store.query(erasure.find_names(tenant, ids))
            person = Person(tenant, ids, tuple(row[0] for row in names))
            ((events, statements),) = await store.query(erasure.count(person))
            return Found(person, events, statements)
        finally:
            await store.close()

    with told_plainly(ledger):
        found = asyncio.run(asked())
    present = run_at(settings, tenant, lambda link: Reader(link, tenant).kinds(list(found.ids)))
    if present:
        raise click.ClickException(
            f"{printable(who)} is in the directory (id {', '.join(present)}): have the identity"
            " provider delete them first, or name the id of one that is gone"
        )
    return found


def erase(settings: Settings, tenant: str, found: Found) -> dict[str, Any]:
    """Erase the person, tell the ledger that it was done, and return what was erased."""
    ledger = require_ledger(settings)

    async def erased() -> None:
        store = Store(ledger, seconds=READ_S)
        try:
            for mutation in erasure.mutations(found.person):
                await store.query(mutation)
        finally:
            await store.close()

    with told_plainly(ledger):
        asyncio.run(erased())
    ids = ", ".join(found.ids)
    run_at(
        settings,
        tenant,
        lambda link: record_action(link, settings, tenant, "person.erased", subject=ids),
    )
    return {"ids": list(found.ids), "events": found.events, "statements": found.statements}


async def _until_written(link: Link, tenant: str) -> None:
    """Wait until the ledger has every event and fact that Redis holds now."""
    lane, keys = LedgerLane(link, tenant, ()), Keys(tenant)
    last = await Reader(link, tenant).last_seq()
    newest = await link.call(link.redis.xrevrange(keys.facts, count=1))
    deadline = time.monotonic() + _WAIT_S
    while True:
        waiting = newest and await link.call(
            link.redis.xrange(keys.facts, max=newest[0][0], count=1)
        )
        if (await lane.progress()).cursor >= last and not waiting:
            return
        if time.monotonic() > deadline:
            raise click.ClickException(
                "the ledger has not caught up yet: see that a worker runs, and try again"
            )
        await asyncio.sleep(_POLL_S)
