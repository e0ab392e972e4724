"""Rebuilding a directory, with progress on a terminal."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from app.cli.actions import record_action
from app.cli.ledgers import require_ledger, told_plainly
from app.cli.linked import run_at
from app.cli.lookup import LaneName, require_tenant
from app.directory.restoring import NotEmpty
from workers.ledger.rebuild import Progress, Read, read_history, restore
from workers.ledger.store import READ_S, Store

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.directory.link import Link


def rebuilt(settings: Settings, tenant: str, *, despite_breaks: bool) -> dict[str, Any]:
    """Return what was rebuilt. Raises ClickException where that can't be done, or must not."""
    require_tenant(settings, tenant)
    ledger = require_ledger(settings)

    async def read(progress: Progress) -> Read:
        store = Store(ledger, seconds=READ_S)
        try:
            return await read_history(store, tenant, progress, aged=ledger.events_days > 0)
        finally:
            await store.close()

    with _shown() as progress:
        with told_plainly(ledger):
            found = asyncio.run(read(progress))
        _check(tenant, found, despite_breaks=despite_breaks)
        run_at(settings, tenant, lambda link: _restored(settings, link, tenant, found, progress))
    kinds = Counter(resource.kind for resource in found.history.resources.values())
    return {
        "tenant": tenant,
        "seq": found.history.seq,
        "events": found.verification.checked,
        "resources": len(found.history.resources),
        "users": kinds["user"],
        "groups": kinds["group"],
    }


def _check(tenant: str, found: Read, *, despite_breaks: bool) -> None:
    if not found.verification.checked:
        raise click.ClickException(f"the ledger has no event of tenant {tenant}")
    if found.breaks and not despite_breaks:
        first = found.breaks[0]
        raise click.ClickException(
            f"the chain is broken at seq {first.seq}: {first.reason}; see `audit verify`,"
            " and add --despite-breaks if what is there is to be believed"
        )
    if found.history.incomplete:
        raise click.ClickException(
            f"the ledger lacks the documents of {len(found.history.incomplete)} resources: it was"
            " not told everything before Redis was lost"
        )


async def _restored(
    settings: Settings, link: Link, tenant: str, found: Read, progress: Progress
) -> None:
    from app.cli.linked import wake  # noqa: PLC0415 - arq is slow

    targets = settings.tenants[tenant].targets
    try:
        await restore(link, tenant, targets, found, progress)
    except NotEmpty as error:
        raise click.ClickException(
            f"{error}: a rebuild is for an empty Redis; name that one in [redis] url"
        ) from error
    seq = found.history.seq
    await record_action(link, settings, tenant, "directory.rebuilt", subject=tenant, seq=seq)
    await wake(settings, [LaneName(tenant, target) for target in targets])


@contextmanager
def _shown() -> Iterator[Progress]:
    """Show how far it is on a terminal, on stderr."""
    if not sys.stderr.isatty():
        yield lambda _what, _count: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where somebody looks

    console = Console(stderr=True)
    with console.status("reading events") as status:
        yield lambda what, count: status.update(f"{what}: {count}")
