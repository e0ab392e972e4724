"""What the README tells to type and to write exists and works."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import click
import pytest

from app.cli.main import cli
from app.cli.options import this_program
from app.config.load import load
from app.errors import StatementRefused
from workers.clickhouse.pool import Endpoint, Pool

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
DEADLINE_S = 120.0
SECRETS = {"REDIS_PASSWORD": "x", "CH_EU_PASSWORD": "x"}


def test_the_example_of_a_configuration_has_no_mistakes(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(example)
    settings = load(file, SECRETS)
    assert set(settings.tenants["acme"].roles) == {"employee", "analyst"}


def test_the_table_of_commands_has_each_of_them() -> None:
    told = re.findall(r"^\| `clickhouse-scim ([a-z-]+)` \|", README, flags=re.MULTILINE)
    assert sorted(told) == cli.list_commands(click.Context(cli))


def test_the_table_names_the_parts_of_each_group_of_commands() -> None:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            (row,) = re.findall(rf"^\| `clickhouse-scim {name}` \| (.*)", README, re.MULTILINE)
            assert set(re.findall(r"`(\w+)`", row)) == set(command.list_commands(context))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_targets_of_make_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    known = set(cli.list_commands(click.Context(cli)))
    assert set(re.findall(r"clickhouse-scim ([a-z]+(?:-[a-z]+)*)\b(?!\.)", text)) <= known
    rules = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= rules


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


async def test_the_first_try_shows_what_it_says(tmp_path: Path) -> None:
    """The README's own lines, in a shell, on the sandbox that it starts before them."""
    process = await asyncio.create_subprocess_exec(
        *this_program("sandbox", "--json", "--data-dir", str(tmp_path / "data")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        await follow(json.loads(await process.stdout.readline()))
    finally:
        process.terminate()
        await process.communicate()


async def follow(sandbox: dict[str, Any]) -> None:
    section = README.partition("## Try it")[2].partition("\n## ")[0]
    (block,) = re.findall(r"^ {4}BASE=.*(?:\n {4}.+)*", section, re.MULTILINE)
    scim, program = sandbox["scim"]["acme"], Path(sys.executable).parent / "clickhouse-scim"
    values, *lines = dedent(block).splitlines()
    assert values.startswith("BASE=http://127.0.0.1:…/scim/acme/v2 TOKEN=chscim_… ")
    script = "\n".join([f"BASE={scim['base_url']} TOKEN={scim['token']}", *lines])
    script = script.replace(".venv/bin/clickhouse-scim", str(program))
    script = script.replace("…/clickhouse-scim.toml", sandbox["config"])
    ran = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-c", script), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await ran.communicate()
    assert (ran.returncode, b" applied_seq " in printed) == (0, True)
    ((statement, promised),) = re.findall(r"`(SHOW GRANTS .*?)` says\n``(.*?) ``", section)
    at = urlsplit(sandbox["clickhouse"]["main"])
    pool = Pool(Endpoint(hosts=((at.hostname or "", at.port or 0),), user="default"))
    async with asyncio.timeout(DEADLINE_S):
        shown = ""
        while shown != promised:
            with suppress(StatementRefused):  # nobody of that name yet
                async with pool.session() as session:
                    shown = "; ".join(line for (line,) in await session.query(statement))
            await asyncio.sleep(0.1)
    await pool.close()
