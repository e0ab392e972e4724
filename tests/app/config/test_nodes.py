from __future__ import annotations

from pathlib import Path
from typing import Any

from app.config.load import check
from app.config.nodes import configured_name
from app.config.overrides import Applied
from app.config.settings import Settings


def settings(**targets: dict[str, Any]) -> Settings:
    groups = [{"group": "g", "roles": ["r"], "targets": [next(iter(targets))]}]
    tenants = {"acme": {"targets": list(targets), "groups": groups}}
    raw = {"redis": {"url": "redis://x"}, "targets": targets, "tenants": tenants}
    return check(Applied(raw, {}, ()), {}, Path())


def test_each_server_of_a_target_with_storages_of_their_own_is_a_target() -> None:
    found = settings(
        eu={"hosts": ["a", "[::1]:9001"], "storage": "per_node", "user": "u"},
        us={"hosts": ["b", "c"]},
    )
    assert found.tenants["acme"].groups[0].targets == ("eu@a:9000", "eu@[::1]:9001")
    assert found.tenants["acme"].targets == ("eu@a:9000", "eu@[::1]:9001", "us")
    assert [(name, [str(h) for h in t.hosts], t.user) for name, t in found.targets.items()] == [
        ("eu@a:9000", ["a:9000"], "u"),
        ("eu@[::1]:9001", ["[::1]:9001"], "u"),
        ("us", ["b:9000", "c:9000"], "provisioner"),
    ]
    assert [configured_name(name) for name in found.targets] == ["eu", "eu", "us"]


def test_one_server_is_named_so_too_and_keeps_its_lane_when_others_come() -> None:
    before = settings(eu={"hosts": ["a"], "storage": "per_node"})
    after = settings(eu={"hosts": ["b", "a"], "storage": "per_node"})
    assert set(before.targets) < set(after.targets)
