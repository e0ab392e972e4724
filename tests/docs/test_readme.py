"""What the README tells to type and to write exists and works."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from app.cli.main import cli
from app.config.load import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
