"""A `clickhouse` of the machine: which one is taken, and how it is run."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from app.sandbox.installed import find_clickhouse, server_command
from app.sandbox.servers import server_program


def fake_clickhouse(folder: Path, says: str) -> str:
    program = folder / "clickhouse"
    program.write_text(f'#!/bin/sh\n[ "$*" = "server --version" ] || exit 1\n{says}\n')
    program.chmod(0o755)
    return str(program)


VERSIONS = {
    "the oldest": ("echo 'ClickHouse server version 24.3.1.2672 (official build).'", True),
    "newer": ("echo 'ClickHouse server version 26.9.2.1.'", True),
    "too old": ("echo 'ClickHouse server version 18.16.1.'", False),
    "no server in it": ("exit 36", False),
    "no version": ("echo unknown", False),
}


@pytest.mark.parametrize(("says", "taken"), VERSIONS.values(), ids=VERSIONS.keys())
def test_the_clickhouse_on_path_is_taken_from_24_3_on(
    says: str, taken: bool, tmp_path: Path
) -> None:
    program = fake_clickhouse(tmp_path, says)
    assert find_clickhouse({"PATH": str(tmp_path)}) == (program if taken else None)


def test_a_path_without_clickhouse_has_none(tmp_path: Path) -> None:
    assert find_clickhouse({"PATH": str(tmp_path)}) is None


def test_a_server_keeps_to_its_folder_and_to_loopback(tmp_path: Path) -> None:
    folder = tmp_path / "a & <b>"
    folder.mkdir()
    command = server_command("/opt/clickhouse", 4321, 4322, folder)
    assert command == ["/opt/clickhouse", "server", f"--config-file={folder}/config.xml"]
    config = ET.parse(folder / "config.xml").getroot()
    assert [one.text for one in config.findall("listen_host")] == ["127.0.0.1"]
    assert [one.tag for one in config if one.tag.endswith("port")] == ["tcp_port", "http_port"]
    assert (config.findtext("tcp_port"), config.findtext("http_port")) == ("4321", "4322")
    paths = [one.text or "" for one in config.iter() if one.tag.endswith("path")]
    assert len(paths) == 6
    assert all(path.startswith(f"{folder}/") for path in paths)


def test_a_server_has_sql_access_control(tmp_path: Path) -> None:
    server_command("clickhouse", 4321, 4322, tmp_path)
    storages = ET.parse(tmp_path / "config.xml").find("user_directories")
    assert storages is not None
    assert [one.tag for one in storages] == ["users_xml", "local_directory"]
    users = ET.parse(tmp_path / "users.xml").getroot()
    assert users.findtext("users/default/access_management") == "1"
    assert users.findtext("users/default/password") == ""
    networks = {one.text for one in users.findall("users/default/networks/ip")}
    assert networks == {"127.0.0.1", "::1"}


def test_it_runs_without_its_own_watchdog(tmp_path: Path) -> None:
    program = server_program(
        "clickhouse", "main", 4321, 4322, folder=tmp_path, log=tmp_path / "log", environ=os.environ
    )
    assert program.environ is not None
    assert program.environ["CLICKHOUSE_WATCHDOG_ENABLE"] == "0"
    assert program.arguments[:2] == ["clickhouse", "server"]
