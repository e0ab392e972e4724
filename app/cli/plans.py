"""What `plan` tells: the statements that a lane would send, and who gains and loses by them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.cli.lookup import LaneName
from app.cli.rehearsals import Told, rehearsed
from app.config.settings import Settings
from app.directory.shards import Shards
from workers.access.effects import (
    Change,
    Granted,
    Grants,
    granted_by,
    log_ins,
    role_changes,
    table_changes,
    usable,
)
from workers.access.statements import masked
from workers.access.steps import ROLE_STEPS
from workers.brake import Foreseen
from workers.clickhouse.granted import read_grants
from workers.clickhouse.pool import Pool
from workers.rehearsal import Rehearsed
from workers.setup import Setup, endpoint_of

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Planned:
    """One lane's plan. `tables`: by grant."""

    lane: LaneName
    rehearsed: Rehearsed
    log_in: Change
    roles: Mapping[str, Change]
    tables: Mapping[Granted, Change]

    @property
    def actions(self) -> list[dict[str, Any]]:
        """How many statements there are of each kind, and about how many names in all."""
        statements, names = Counter[str](), Counter[str]()
        for statement in self.rehearsed.statements:
            action = action_of(statement.step)
            statements[action] += 1
            names[action] += len(statement.names)
        return [
            {"action": action, "statements": count, "names": names[action]}
            for action, count in statements.items()
        ]

    def row(self) -> dict[str, Any]:
        return {
            "tenant": self.lane.tenant,
            "target": self.lane.target,
            "looked_at": self.rehearsed.looked_at,
            "actions": self.actions,
            "statements": [
                {
                    "action": action_of(statement.step),
                    "names": list(statement.names),
                    "sql": masked(statement.sql),
                }
                for statement in self.rehearsed.statements
            ],
            "log_in": _told(self.log_in),
            "roles": [{"role": role} | _told(change) for role, change in self.roles.items()],
            "tables": [
                {"table": grant.object, "access": grant.access} | _told(change)
                for grant, change in self.tables.items()
            ],
            "held": _held(self.rehearsed.braked),
            "refused": [
                {"name": fault.name, "code": fault.code, "error": fault.error}
                for fault in self.rehearsed.faults.values()
            ],
        }


def action_of(step: object) -> str:
    """Return what a step does, in words: `revoke roles`."""
    return _WORD.sub(" ", type(step).__name__).lower()


async def planned(shards: Shards, settings: Settings, lane: LaneName, told: Told) -> Planned:
    """Return what the lane would do, and to whom. Raises TargetError."""
    done = await rehearsed(shards, settings, lane, told)
    setup = Setup.of(settings, *lane)
    assert setup is not None  # noqa: S101 - `rehearsed` has had one
    changing = _changing(done)
    roles = {role for pair in done.users.values() for role in usable(pair[0]) | usable(pair[1])}
    tables: Mapping[Granted, Change] = {}
    if roles or changing:
        pool = Pool(endpoint_of(settings, lane.target))
        try:
            before, holders = await read_grants(pool, roles, changing)
        finally:
            await pool.close()
        after = _shaped(before, setup, changing)
        tables = table_changes(done.users, before, after, holders)
    return Planned(lane, done, log_ins(done.users), role_changes(done.users), tables)


def _changing(done: Rehearsed) -> set[str]:
    """Return the roles that the statements shape."""
    return {s.step.role for s in done.statements if isinstance(s.step, ROLE_STEPS)}


def _shaped(before: Grants, setup: Setup, changing: Iterable[str]) -> Grants:
    defined = {
        role: granted_by(setup.definitions[role].grants)
        for role in changing
        if role in setup.definitions
    }
    return Grants({**before.own, **defined}, before.parents)


def _held(braked: Foreseen | None) -> dict[str, Any] | None:
    if braked is None:
        return None
    return {
        "names": list(braked.names),
        "log_ins_lost": braked.gone.users,
        "log_ins": braked.whole.users,
        "grants_lost": braked.gone.grants,
        "grants": braked.whole.grants,
    }


def _told(change: Change) -> dict[str, list[str]]:
    return {"gains": list(change.gains), "loses": list(change.loses)}
