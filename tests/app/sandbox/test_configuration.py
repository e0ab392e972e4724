from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.config.load import check
from app.config.overrides import Applied
from app.config.settings import Settings
from app.sandbox.configuration import (
    Places,
    default_tables,
    placed,
    target_names,
)
from app.sandbox.nodes import sandbox_nodes


def settings(
    tables: dict[str, Any], folder: Path, url: str = "clickhouse://default:@127.0.0.1:3/default"
) -> Settings:
    password = folder / "password"
    password.write_text("secret")
    places = Places(
        redis_url="redis://127.0.0.1:1/0",
        receiver_port=2,
        targets={name: [url] for name in sandbox_nodes(tables)},
        password_file=password,
    )
    return check(Applied(placed(tables, places, folder), {}, ()), {}, folder)


@pytest.mark.parametrize(
    ("count", "names"),
    [(1, ("main",)), (2, ("main", "second")), (4, ("main", "second", "target3", "target4"))],
)
def test_targets_are_named_in_order(count: int, names: tuple[str, ...]) -> None:
    assert target_names(count) == names


def test_one_tenant_has_plain_names(tmp_path: Path) -> None:
    found = settings(default_tables(["acme"], ["main"]), tmp_path)
    acme, main = found.tenants["acme"], found.targets["main"]
    assert (acme.user_name.text, acme.marker_role) == ("{userName}", "scim_managed")
    assert acme.authentication.method == "no_password"
    assert {mapping.group for mapping in acme.groups} >= {"Data Analysts", "Data Engineers"}
    assert set(acme.roles) >= {"analyst", "engineer"}
    assert (str(main.hosts[0]), main.user, main.secret()) == (
        "127.0.0.1:3",
        "provisioner",
        "secret",
    )
    assert (found.redis.url, found.receiver.port) == ("redis://127.0.0.1:1/0", 2)


def test_several_tenants_share_targets_without_meeting(tmp_path: Path) -> None:
    """`check` would refuse tenants whose users or markers could be taken for one another."""
    found = settings(default_tables(["acme", "a-b", "a"], ["main", "second"]), tmp_path)
    assert {name: tenant.marker_role for name, tenant in found.tenants.items()} == {
        "acme": "scim_managed_acme",
        "a-b": "scim_managed_a_b",
        "a": "scim_managed_a",
    }
    assert all(one.user_name.text == "{tenant}__{userName}" for one in found.tenants.values())


def test_a_files_own_servers_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "far.password").write_text("other")
    tables = {
        "redis": {"url": "redis://far:1/0", "password_env": "NOT_SET"},
        "targets": {
            "far": {"hosts": ["ch-1"], "user": "u", "password_file": "far.password"},
            "near": {"database": "d", "password_env": "NOT_SET", "secure": True},
        },
        "tenants": {"acme": {"targets": ["far", "near"]}},
    }
    assert list(sandbox_nodes(tables)) == ["near"]
    found = settings(tables, tmp_path)
    far, near = found.targets["far"], found.targets["near"]
    assert (str(far.hosts[0]), far.user, far.secret()) == ("ch-1:9000", "u", "other")
    assert far.password_file == tmp_path / "far.password"
    assert (str(near.hosts[0]), near.user, near.database, near.secure) == (
        "127.0.0.1:3",
        "provisioner",
        "d",
        False,
    )
    assert found.redis.url == "redis://127.0.0.1:1/0"


def test_an_existing_server_is_the_workers_target_but_not_its_account(tmp_path: Path) -> None:
    tables = default_tables(["acme"], ["main"])
    found = settings(tables, tmp_path, "clickhouses://root:it%27s@[::1]").targets["main"]
    assert (str(found.hosts[0]), found.secure) == ("[::1]:9440", True)
    assert (found.user, found.secret()) == ("provisioner", "secret")


@pytest.mark.parametrize("tables", [{}, {"targets": 1, "receiver": 1}, {"targets": {"a": 1}}])
def test_tables_of_the_wrong_kind_are_left_for_the_check(tables: dict[str, Any]) -> None:
    places = Places(
        redis_url="r", receiver_port=1, targets={}, password_file=Path("/nowhere/password")
    )
    result = placed(tables, places, Path("/"))
    assert {key: result.get(key) for key in tables if key == "targets"} == {
        key: value for key, value in tables.items() if key == "targets"
    }


def test_the_ledger_is_on_the_first_server_of_the_sandbox_unless_the_file_names_one(
    tmp_path: Path,
) -> None:
    found = settings(default_tables(["acme"], ["main", "second"]), tmp_path)
    assert found.ledger is not None
    assert found.ledger.url == "clickhouse://ledger@127.0.0.1:3/scim"
    assert found.ledger.secret() == "secret"
    tables = default_tables(["acme"], ["main"])
    tables["ledger"] = {"url": "clickhouse://me@audit:9000/mine"}
    named = settings(tables, tmp_path)
    assert named.ledger is not None
    assert named.ledger.url == "clickhouse://me@audit:9000/mine"


def test_a_file_whose_targets_have_all_their_servers_gets_no_ledger(tmp_path: Path) -> None:
    tables = default_tables(["acme"], ["main"])
    tables["targets"]["main"]["hosts"] = ["127.0.0.1:9000"]
    tables["targets"]["main"]["user"] = "provisioner"
    assert settings(tables, tmp_path).ledger is None
