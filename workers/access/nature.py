"""Where a server keeps its users, and whether that is what the configuration says; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workers.access.statements.quoting import quote_literal

DIRECTORIES = "SELECT type FROM system.user_directories ORDER BY precedence"

Storage = Literal["replicated", "on_cluster", "per_node"]


def members_query(cluster: str) -> str:
    """Return a query for how many servers the cluster has: (count)."""
    return f"SELECT count() FROM system.clusters WHERE cluster = {quote_literal(cluster)}"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What is not as the configuration says. `is_fatal`: some users would be missing somewhere."""

    told: str
    mend: str
    is_fatal: bool


def keeps_users(directories: Sequence[str]) -> Literal["together", "apart", "nowhere"]:
    """Return where the server keeps what SQL makes, by the types of its user directories: in one
    storage with other servers, for itself, or nowhere. The first that can be written to counts.
    """
    for one in directories:
        if one == "replicated":
            return "together"
        if one in {"local_directory", "local directory", "memory"}:
            return "apart"
    return "nowhere"


def mismatch(
    storage: Storage,
    directories: Sequence[str],
    *,
    servers: int,
    cluster: str | None = None,
    members: int = 0,
) -> Mismatch | None:
    """Return what is wrong with `storage`, if anything is. `servers`: how many the configuration
    names; `members`: how many `cluster` has.
    """
    match keeps_users(directories):
        case "nowhere":
            return Mismatch(
                f"keeps no users that SQL makes (user directories: {', '.join(directories)})",
                "add <local_directory> or <replicated> to <user_directories> of the server",
                is_fatal=True,
            )
        case "apart" if storage == "replicated" and servers > 1:
            return Mismatch(
                f"keeps its users for itself, and hosts names {servers} servers",
                'set storage = "per_node", or give the servers one <replicated> user directory',
                is_fatal=True,
            )
        case "together" if storage != "replicated" and servers > 1:
            return Mismatch(
                "keeps its users together with other servers",
                'set storage = "replicated": one lane is enough for all of them',
                is_fatal=False,
            )
    if cluster is not None and members != servers:
        return Mismatch(
            f"cluster {cluster} has {members} servers, and hosts names {servers}",
            "name every server of the cluster in hosts; a new one is filled by itself",
            is_fatal=members > servers,
        )
    return None
