"""A server's place in a cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.sandbox.clickhouse.faults import CannotStart

_NAME = re.compile(r"[A-Za-z_]\w*")
_HOST = re.compile(r"[\w.-]+:\d{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """`hosts`: `host:port` of every node, this one's `host` among them.

    `folder`: what all nodes share. `replicated`: they also share one access storage, in which a
    node sees the changes of others when they are `lag_s` old.
    """

    name: str
    hosts: tuple[str, ...]
    host: str
    folder: Path
    replicated: bool = False
    lag_s: float = 0.0


def join_cluster(
    name: str, nodes: Sequence[str], port: int, folder: Path, *, replicated: bool, lag_s: float
) -> Membership:
    """Return the place of the server on `port`. Raises CannotStart where it has none."""
    if not _NAME.fullmatch(name):
        raise CannotStart(f"{name} is no name for a cluster: use letters, digits and _")
    for node in nodes:
        if not _HOST.fullmatch(node):
            raise CannotStart(f"--node {node} is no host:port")
    own = [node for node in nodes if node.endswith(f":{port}")]
    if len(own) != 1 or len(set(nodes)) != len(nodes):
        raise CannotStart(f"name each node once with --node, the one on port {port} as well")
    return Membership(
        name=name,
        hosts=tuple(nodes),
        host=own[0],
        folder=folder,
        replicated=replicated,
        lag_s=lag_s,
    )
