"""Which servers a target without hosts gets, from the target's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.sandbox.nodes import Nodes, sandbox_nodes

KINDS: dict[str, tuple[dict[str, Any], Nodes]] = {
    "one": ({}, Nodes(names=("eu",))),
    "replicated": (
        {"sandbox_nodes": 2},
        Nodes(names=("eu", "eu-2"), cluster="main", replicated=True),
    ),
    "on cluster": (
        {"sandbox_nodes": 3, "storage": "on_cluster", "cluster": "c"},
        Nodes(names=("eu", "eu-2", "eu-3"), cluster="c"),
    ),
    "on cluster of one": ({"storage": "on_cluster"}, Nodes(names=("eu",), cluster="main")),
    "per node": ({"sandbox_nodes": 2, "storage": "per_node"}, Nodes(names=("eu", "eu-2"))),
    "of the wrong kind": ({"sandbox_nodes": "x", "cluster": 1}, Nodes(names=("eu",))),
}


@pytest.mark.parametrize(("target", "nodes"), KINDS.values(), ids=KINDS.keys())
def test_a_target_gets_the_servers_that_its_storage_wants(
    target: dict[str, Any], nodes: Nodes
) -> None:
    assert sandbox_nodes({"targets": {"eu": target}}) == {"eu": nodes}


@pytest.mark.parametrize("targets", [None, 1, {"eu": 1}, {"eu": {"hosts": ["h"]}}])
def test_a_target_with_hosts_gets_none(targets: object) -> None:
    assert sandbox_nodes({"targets": targets}) == {}


def test_each_server_of_a_cluster_is_told_all_of_them() -> None:
    cluster = Nodes(names=("eu", "eu-2"), cluster="main", replicated=True)
    assert cluster.arguments([1, 2], Path("/k")) == [
        *("--cluster", "main", "--node", "127.0.0.1:1", "--node", "127.0.0.1:2"),
        *("--keeper", "/k", "--replicated"),
    ]
    assert Nodes(names=("eu", "eu-2")).arguments([1, 2], Path("/k")) == []
