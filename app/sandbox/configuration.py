"""The configuration that the sandbox's receiver and workers run with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from app.config.target import Host
from app.sandbox.servers import LEDGER_DATABASE, LEDGER_USER, PROVISIONER
from app.sandbox.session import parse_address

HEADER = """\
# Written by `clickhouse-scim sandbox` at each start. Changes here are taken by SIGHUP, and last
# until then; to keep them, copy this file and start the sandbox with --config.

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the sandbox's own servers are. `targets`: each target's, as its administrator's URLs.

    The first of them has the ledger too, unless the file names one.
    """

    redis_url: str
    receiver_port: int
    targets: Mapping[str, Sequence[str]]
    password_file: Path

    @property
    def ledger(self) -> str | None:
        return next((urls[0] for urls in self.targets.values()), None)


def target_names(count: int) -> tuple[str, ...]:
    """Return `main`, `second`, `target3`, …"""
    return ("main", "second", *(f"target{at}" for at in range(3, count + 1)))[:count]


def default_tables(tenants: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a sandbox that was given none: `tenants` on all `targets`.

    The role map is `demo.toml`. Of several tenants each has its own marker and name prefix, so
    that they share targets without meeting.
    """
    role_map = tomllib.loads((resources.files("app.sandbox") / "demo.toml").read_text("utf-8"))
    alone = len(tenants) == 1
    return {
        "targets": {name: {} for name in targets},
        "tenants": {
            name: {
                "targets": list(targets),
                "user_name": "{userName}" if alone else "{tenant}__{userName}",
                "marker_role": "scim_managed"
                if alone
                else f"scim_managed_{name.replace('-', '_')}",
                "authentication": {"method": "no_password"},
                **role_map,
            }
            for name in tenants
        },
    }


def placed(tables: Mapping[str, Any], places: Places, folder: Path) -> dict[str, Any]:
    """Return `tables` with the sandbox's own Redis, receiver and servers in them.

    Paths that were relative to `folder`, the file's, become absolute: the result is a file
    elsewhere. What else is wrong with `tables` stays wrong, for `check` to tell.
    """
    result = dict(tables)
    result["redis"] = {"url": places.redis_url}
    receiver = tables.get("receiver", {})
    if isinstance(receiver, dict):
        result["receiver"] = receiver | {"host": "127.0.0.1", "port": places.receiver_port}
    if "ledger" in tables:
        result["ledger"] = _with_files(tables["ledger"], folder)
    elif places.ledger is not None:
        at = parse_address(places.ledger)
        result["ledger"] = {
            "url": f"clickhouse://{LEDGER_USER}@{Host(at.host, at.port)}/{LEDGER_DATABASE}",
            "password_file": str(places.password_file),
            "secure": at.secure,
        }
    targets = tables.get("targets")
    if isinstance(targets, dict):
        result["targets"] = {
            name: _placed_target(name, one, places, folder) for name, one in targets.items()
        }
    return result


def _with_files(table: Any, folder: Path) -> Any:
    if not isinstance(table, dict):
        return table
    files = ("password_file", "ca_file")
    return table | {k: str(folder / table[k]) for k in files if isinstance(table.get(k), str)}


def _placed_target(name: str, target: Any, places: Places, folder: Path) -> Any:
    if not isinstance(target, dict) or name not in places.targets:
        return _with_files(target, folder)
    servers = [parse_address(url) for url in places.targets[name]]
    kept = {
        key: value
        for key, value in target.items()
        if key not in {"password_env", "secure", "ca_file"}
    }
    return kept | {
        "hosts": [str(Host(at.host, at.port)) for at in servers],
        "secure": servers[0].secure,
        "user": PROVISIONER,
        "password_file": str(places.password_file),
    }
