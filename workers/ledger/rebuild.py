"""A directory out of the ledger: read the events, check their chain, write what they leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from app.clock import Clock
from app.directory.keys import Kind
from app.directory.link import Link
from app.directory.restoring import Past, Restoring
from workers.ledger.adoptions import Adoptions, read_adoptions
from workers.ledger.chain import Break, Verification
from workers.ledger.history import History, Resource
from workers.ledger.rows import EVENT_COLUMNS, parse_event
from workers.ledger.store import Store

_AT_ONCE = 100  # resources

Progress = Callable[[str, int], None]


@dataclass(slots=True)
class Read:
    """What the ledger has of a tenant. `breaks`: where its chain does not hold. `adoptions`: by
    target.
    """

    history: History = field(default_factory=History)
    verification: Verification = field(default_factory=Verification)
    breaks: list[Break] = field(default_factory=list)
    adoptions: dict[str, Adoptions] = field(default_factory=dict)


async def read_history(store: Store, tenant: str, progress: Progress, *, aged: bool) -> Read:
    """Return the directory that the tenant's events leave. `aged`: the first ones may be gone."""
    read = Read(verification=Verification(aged=aged))
    async for page in store.events(tenant, EVENT_COLUMNS):
        events = [parse_event(row) for row in page]
        read.breaks += read.verification.check(events)
        read.history.apply(events)
        progress("events", read.verification.checked)
    read.adoptions = await read_adoptions(store, tenant)
    return read


async def restore(
    link: Link, tenant: str, targets: Sequence[str], found: Read, progress: Progress
) -> None:
    """Write the directory into an empty Redis, and have lanes go through it.

    Raises NotEmpty, DirectoryUnavailable; after the latter it may be run again.
    """
    history = found.history
    restoring = Restoring(link, tenant)
    await restoring.begin(history.seq)
    resources = history.ordered()
    for start in range(0, len(resources), _AT_ONCE):
        some = resources[start : start + _AT_ONCE]
        await restoring.resources([_past(resource) for resource in some])
        for resource in some:
            waiting = {
                member: history.added_ms.get(seq, resource.modified_ms)
                for member, seq in resource.members.items()
                if member not in history.resources
            }
            await restoring.members(resource.id, resource.members, waiting)
        progress("resources", start + len(some))
    for target, adoptions in found.adoptions.items():
        await restoring.adoptions(target, adoptions.records, adoptions.consents)
    await restoring.end(
        history.links,
        history.likes,
        targets,
        seq=history.seq,
        head=history.hash,
        now_ms=Clock().now_ms(),
    )


def _past(resource: Resource) -> Past:
    return Past(
        kind=cast("Kind", resource.kind),
        id=resource.id,
        document=resource.document,
        name=resource.name,
        external_id=resource.external_id,
        version=resource.version,
        document_version=resource.document_version,
        created_ms=resource.created_ms,
        modified_ms=resource.modified_ms,
        ordered=resource.ordered,
    )
