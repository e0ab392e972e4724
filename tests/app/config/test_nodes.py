from __future__ import annotations

from pathlib import Path
from typing import Any

from app.config.load import check
from app.config.nodes import clustered, configured_name, with_servers
from app.config.overrides import Applied
from app.config.settings import Settings
from app.config.target import Host


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


def test_servers_that_were_found_are_targets_beside_those_of_the_file() -> None:
    eu = {"hosts": ["a"], "storage": "on_cluster", "cluster": "main"}
    us = {"hosts": ["b"], "cluster": "other"}
    ours = settings(eu=eu, us=us, ap={"hosts": ["x"]})
    found = with_servers(ours, {"eu": [Host("c", 9000), Host("a", 9000)], "us": [Host("d", 9000)]})
    assert found.tenants["acme"].targets == ("eu@a:9000", "eu@c:9000", "us", "ap")
    assert found.tenants["acme"].groups[0].targets == ("eu@a:9000", "eu@c:9000")
    assert [str(host) for host in found.targets["us"].hosts] == ["b:9000", "d:9000"]
    assert clustered(found) == {"eu": ["eu@a:9000", "eu@c:9000"], "us": ["us"]}
    assert with_servers(ours, {}) == ours


def test_where_users_need_no_password_no_other_machine_is_found() -> None:
    raw = {
        "redis": {"url": "redis://x"},
        "targets": {"eu": {"hosts": ["localhost"], "storage": "on_cluster", "cluster": "main"}},
        "tenants": {"acme": {"targets": ["eu"], "authentication": {"method": "no_password"}}},
    }
    ours = check(Applied(raw, {}, ()), {}, Path())
    found = with_servers(ours, {"eu": [Host("far", 9000), Host("127.0.0.1", 9001)]})
    assert list(found.targets) == ["eu@localhost:9000", "eu@127.0.0.1:9001"]
