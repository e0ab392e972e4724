"""What `directory move` does: nobody works, and every tenant is brought to its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from app.cli.actions import record_action
from app.clock import Clock
from app.config.settings import Settings
from app.directory.link import Link, connect
from app.directory.moving import move_all
from app.directory.shards import Shards
from app.errors import Misplaced, VolatileRedis
from app.metrics.fleet import ALIVE_S, read_living


async def moved(
    shards: Shards, settings: Settings, old_url: str | None, lost: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row for each tenant that was moved. Raises ClickException if that can't be done."""
    old = None
    if old_url is not None:
        sentinel = settings.redis.sentinel.secret() if settings.redis.sentinel else None
        old = connect(old_url, settings.redis.secret(), sentinel_password=sentinel)
    try:
        for link in [*shards.links.values(), *([old] if old else [])]:
            await _refuse_living(link)
        found = await move_all(shards, old, lost)
    except (Misplaced, VolatileRedis) as error:
        raise click.ClickException(str(error)) from error
    finally:
        if old is not None:
            await old.close()
    for one in found:
        await record_action(
            shards.of(one.tenant),
            settings,
            one.tenant,
            "directory.moved",
            subject=one.tenant,
            source=one.source,
            target=one.target,
        )
    return [
        {"tenant": one.tenant, "from": one.source, "to": one.target, "keys": one.keys}
        for one in found
    ]


async def _refuse_living(link: Link) -> None:
    living = await read_living(link, Clock().now_ms())
    some = [f"{count} {kind}{'s' * (count > 1)}" for kind, count in living.items() if count]
    if some:
        raise click.ClickException(
            f"{' and '.join(some)} worked on {link.name} within the last {ALIVE_S:g} s: stop all"
            " receivers and workers, and try again"
        )
