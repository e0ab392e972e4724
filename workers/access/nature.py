"""Where a server keeps its users, and whether that is what the configuration says; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from workers.access.statements.quoting import quote_literal

DIRECTORIES = "SELECT type FROM system.user_directories ORDER BY precedence"

Storage = Literal["replicated", "on_cluster", "per_node"]


class Member(NamedTuple):
    """A server of a cluster, as one of its servers tells. `is_local`: it is that one itself."""

    name: str
    address: str
    port: int
    is_local: bool


def members_query(cluster: str) -> str:
    """Return a query for the members of the cluster, each as the fields of a Member."""
    return (
        "SELECT host_name, host_address, port, max(is_local) FROM system.clusters"  # noqa: S608
        f" WHERE cluster = {quote_literal(cluster)} GROUP BY ALL ORDER BY ALL"
    )


# The clusters of several servers that a server is in itself: (name).
CLUSTERS_OF_THIS = (
    "SELECT cluster FROM system.clusters GROUP BY cluster"
    " HAVING max(is_local) AND uniqExact(host_address, port) > 1 ORDER BY cluster"
)


Place = tuple[str, int]  # name and port


def unnamed(hosts: Collection[Place], told: Mapping[Place, Sequence[Member]]) -> set[Place]:
    """Return the members that are none of `hosts`: not by name or address, nor since one of these
    said that it is that one. `told`: what each server said that was asked, one of `hosts` or not.
    """
    found: set[Place] = set()
    named: set[Place] = set()
    for asked, members in told.items():
        for member in members:
            place = (member.name, member.port)
            found.add(place)
            is_asked = member.is_local and asked in hosts
            if is_asked or place in hosts or (member.address, member.port) in hosts:
                named.add(place)
    return found - named


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
    clusters: Sequence[str] = (),
) -> Mismatch | None:
    """Return what is wrong with `storage`, if anything is. `servers`: how many the configuration
    names; `members`: how many `cluster` has; `clusters`: those of several servers that this one is
    in.
    """
    if cluster is not None and members == 0:
        some = f"; it is in {', '.join(clusters)}" if clusters else ""
        return Mismatch(
            f"knows no cluster {cluster}{some}",
            "correct the target's cluster: `SELECT cluster FROM system.clusters` tells the names",
            is_fatal=True,
        )
    match keeps_users(directories):
        case "nowhere":
            return Mismatch(
                f"keeps no users that SQL makes (user directories: {', '.join(directories)})",
                "add <local_directory> or <replicated> to <user_directories> of the server",
                is_fatal=True,
            )
        case "apart" if storage == "replicated" and (servers > 1 or cluster is not None):
            return Mismatch(
                "keeps its users for itself, and the target has several servers",
                f"{_apart(clusters, cluster)}, or give the servers one <replicated> user directory",
                is_fatal=True,
            )
        case "apart" if storage == "replicated" and clusters:
            return Mismatch(
                f"keeps its users for itself, and is one of several servers in {clusters[0]}",
                f"{_apart(clusters, None)}, if users are to be on all of them",
                is_fatal=False,
            )
        case "together" if storage != "replicated" and (servers > 1 or cluster is not None):
            return Mismatch(
                "keeps its users together with other servers",
                'set storage = "replicated": one lane is enough for all of them',
                is_fatal=False,
            )
    return None


def _apart(clusters: Sequence[str], cluster: str | None) -> str:
    if cluster is not None:
        return 'set storage = "on_cluster"'
    if clusters:
        return f'set storage = "on_cluster" and cluster = "{clusters[0]}"'
    return 'set storage = "per_node"'
