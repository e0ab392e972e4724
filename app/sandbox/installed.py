"""A `clickhouse` program that this machine has: a real server, on loopback, for the sandbox.

It gets a configuration of its own, so nothing of an installation's /etc, data or accounts is used.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from html import escape
from pathlib import Path

_OLDEST = (24, 3)

# Rights, storage and addresses; what is not here is as a server has it by default. The order of
# the storages matters: what statements make goes to the first that can be written.
_CONFIG = """\
<clickhouse>
    <logger><level>warning</level><console>true</console></logger>
    <listen_host>127.0.0.1</listen_host>
    <tcp_port>{port}</tcp_port>
    <http_port>{http_port}</http_port>
    <path>{folder}/data/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <user_files_path>{folder}/user_files/</user_files_path>
    <format_schema_path>{folder}/format_schemas/</format_schema_path>
    <user_directories>
        <users_xml><path>{folder}/users.xml</path></users_xml>
        <local_directory><path>{folder}/access/</path></local_directory>
    </user_directories>
</clickhouse>
"""
_USERS = """\
<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <access_management>1</access_management>
            <named_collection_control>1</named_collection_control>
            <show_named_collections>1</show_named_collections>
            <show_named_collections_secrets>1</show_named_collections_secrets>
        </default>
    </users>
</clickhouse>
"""


def find_clickhouse(environ: Mapping[str, str]) -> str | None:
    """Return the `clickhouse` on PATH if it is 24.3 or newer."""
    found = shutil.which("clickhouse", path=environ.get("PATH"))
    return found if found is not None and _version(found) >= _OLDEST else None


def _version(program: str) -> tuple[int, ...]:
    """Return (25, 8) out of `ClickHouse server version 25.8.1.1 …`; nothing where it says none."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        printed = subprocess.run(
            [program, "server", "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
        if match := re.search(r"version (\d+)\.(\d+)\.", printed):
            return tuple(map(int, match.groups()))
    return ()


def server_command(clickhouse: str, port: int, http_port: int, folder: Path) -> list[str]:
    """Return the command of a server on these ports, and write its configuration into `folder`."""
    config = folder / "config.xml"
    text = _CONFIG.format(port=port, http_port=http_port, folder=escape(str(folder)))
    config.write_text(text, encoding="utf-8")
    (folder / "users.xml").write_text(_USERS, encoding="utf-8")
    return [clickhouse, "server", f"--config-file={config}"]
