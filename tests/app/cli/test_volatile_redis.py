"""Receiver and worker don't run on a Redis that would forget what it acknowledged (promise 1)."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import RedisServer

VOLATILE = {
    "no append-only file": (("--appendonly", "no"), "set `appendonly yes`"),
    "written a second later": (("--appendfsync", "everysec"), "set `appendfsync always`"),
    "evicting": (("--maxmemory-policy", "allkeys-lru"), "set `maxmemory-policy noeviction`"),
}


@pytest.mark.parametrize("command", ["receiver", "worker"])
@pytest.mark.parametrize(("setting", "advice"), VOLATILE.values(), ids=VOLATILE.keys())
def test_a_volatile_redis_is_refused_in_one_line_that_names_the_setting(
    command: str, setting: tuple[str, str], advice: str, own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.stop()
    replace(own_redis, settings=setting).start()
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(
        f'[redis]\nurl = "{own_redis.url}"\n[receiver]\nport = 0\n'
        '[targets.main]\nhosts = ["127.0.0.1:9"]\n[tenants.acme]\ntargets = ["main"]\n'
    )
    ended = subprocess.run(
        [sys.executable, "-m", "app.cli.main", command, "--config", str(file)],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert advice in ended.stderr.splitlines()[-1]
    assert len(ended.stderr.splitlines()) == 1
