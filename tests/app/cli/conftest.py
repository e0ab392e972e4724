"""A configuration on a real Redis, and the commands run on it."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.main import main
from app.directory.link import Link, connect

if TYPE_CHECKING:
    from tests.conftest import RedisServer


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What is on stdout: one line of JSON and nothing else."""
        assert self.out.count("\n") == 1, self.out + self.err
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """Runs commands on a configuration with `tenant` and `other`, both on `main` and `second`."""

    config: Path
    tenant: str
    other: str
    _capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Ran:
        """Run `clickhouse-scim ARGUMENTS --config FILE` in this process.

        In a thread of its own, where it can run an event loop although the test is in one.
        """
        self._capsys.readouterr()
        with ThreadPoolExecutor(1) as pool:
            code = pool.submit(main, [*arguments, "--config", str(self.config)]).result()
        printed = self._capsys.readouterr()
        return Ran(code, printed.out, printed.err)


def write_config(file: Path, redis: RedisServer, tenants: tuple[str, str]) -> None:
    tables = [
        f'[redis]\nurl = "{redis.url}"',
        *(f'[targets.{name}]\nhosts = ["127.0.0.1:9000"]' for name in ("main", "second")),
        *(
            f'[tenants.{name}]\ntargets = ["main", "second"]\nmarker_role = "scim_{name}"\n'
            'user_name = "{tenant}__{userName}"'
            for name in tenants
        ),
    ]
    file.write_text("\n".join(tables))


@pytest.fixture
def cli(tmp_path: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]) -> Cli:
    name = f"t{uuid.uuid4().hex[:10]}"
    made = Cli(tmp_path / "clickhouse-scim.toml", name, f"{name}-b", capsys)
    write_config(made.config, redis_server, (made.tenant, made.other))
    return made


@pytest.fixture
async def link(redis_server: RedisServer) -> AsyncIterator[Link]:
    made = connect(redis_server.url)
    yield made
    await made.close()
