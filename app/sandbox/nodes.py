"""The sandbox servers that a target without hosts gets: one, or several as its storage wants them.

`per_node` gives servers that know nothing of one another; the other kinds a cluster of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLUSTER = "main"  # where the file gives it no name


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """`names`: the servers'; the first is called like the target. `cluster`: None if in none."""

    names: tuple[str, ...]
    cluster: str | None = None
    replicated: bool = False

    def arguments(self, ports: Sequence[int], keeper: Path) -> list[str]:
        """Return what each server is started with, to find the others. `keeper`: theirs to use."""
        if self.cluster is None:
            return []
        nodes = [word for port in ports for word in ("--node", f"127.0.0.1:{port}")]
        shared = ["--replicated"] if self.replicated else []
        return ["--cluster", self.cluster, *nodes, "--keeper", str(keeper), *shared]


def sandbox_nodes(tables: Mapping[str, Any]) -> dict[str, Nodes]:
    """Return the servers of each target of `tables` that needs some of the sandbox's.

    What is wrong with a target is left for the check of the whole file to tell.
    """
    targets = tables.get("targets")
    if not isinstance(targets, dict):
        return {}
    return {
        name: _nodes(name, target)
        for name, target in targets.items()
        if isinstance(target, dict) and not target.get("hosts")
    }


def _nodes(name: str, target: Mapping[str, Any]) -> Nodes:
    count = target.get("sandbox_nodes")
    count = count if isinstance(count, int) and 1 <= count <= 9 else 1
    names = (name, *(f"{name}-{number}" for number in range(2, count + 1)))
    storage, called = target.get("storage", "replicated"), target.get("cluster")
    if storage == "per_node" or (storage == "replicated" and count == 1):
        return Nodes(names=names)
    cluster = called if isinstance(called, str) else _CLUSTER
    return Nodes(names=names, cluster=cluster, replicated=storage == "replicated")
