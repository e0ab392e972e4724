"""A ClickHouse that one test has for itself."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.child import Child
from app.sandbox.ports import choose_ports
from app.sandbox.servers import answers, own_url, server_program


@pytest.fixture
async def server_url(tmp_path: Path) -> AsyncIterator[str]:
    """Run a sandbox server; this is its administrator's URL."""
    ports = choose_ports(["server", "http"], {}, random.Random())
    url, folder = own_url(ports["server"]), tmp_path / "server"
    folder.mkdir()
    program = server_program(
        None,
        "main",
        ports["server"],
        ports["http"],
        folder=folder,
        log=tmp_path / "server.log",
        environ=os.environ,
    )
    child = Child(program, say=lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.run())
        try:
            async with asyncio.timeout(30):
                while not await answers(url):  # noqa: ASYNC110 - another process tells no event
                    await asyncio.sleep(0.02)
            yield url
        finally:
            await child.stop()
