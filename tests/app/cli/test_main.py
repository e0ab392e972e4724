from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from app.cli.main import cli, main

COMMANDS = cli.list_commands(click.Context(cli))


def leaves() -> list[list[str]]:
    """Return the words of every command that does something, as in ["token", "create"]."""
    context, found = click.Context(cli), []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        parts = command.list_commands(context) if isinstance(command, click.Group) else []
        found += [[name, part] for part in parts] or [[name]]
    return found


LEAVES = leaves()
CONFIG = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in lines if line[2:3].strip()] == COMMANDS
    assert {"sandbox", "demo", "receiver", "worker", "check-config"} <= set(COMMANDS)
    assert {"token", "lane", "deadletter", "provisioner-grants"} <= set(COMMANDS)


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_help_with_an_example_of_it(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Example: clickhouse-scim {' '.join(words)}" in text


@pytest.mark.parametrize("name", sorted({words[0] for words in LEAVES if len(words) > 1}))
def test_a_group_of_commands_has_help_that_names_them(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "Example: clickhouse-scim " in printed
    for words in LEAVES:
        if words[0] == name:
            assert f"\n  {words[-1]} " in printed
    assert "..." not in printed.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_in_one_line_what_it_does(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--help"])
    line = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith(f"  {name} ")
    )
    assert len(line.split()) > 3


@pytest.mark.parametrize("words", [[], *LEAVES], ids=" ".join)
def test_help_imports_nothing_that_is_slow(words: list[str]) -> None:
    """What `--help` costs is Python, click and nothing else."""
    arguments = [*words, "--help"]
    code = f"import sys; from app.cli.main import main; main({arguments}); print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    modules = printed.splitlines()[-1].split()
    assert not {"pydantic", "aiohttp", "redis", "rich", "asyncio"} & set(modules)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    from app import __version__  # noqa: PLC0415

    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


WRONG = {
    "unknown command": (["chekc-config"], "Did you mean 'check-config'?"),
    "unknown option": (["receiver", "--prot", "1"], "No such option '--prot'"),
    "value outside": (["receiver", "--port", "70000"], "70000 is not in the range"),
    "several processes on any port": (
        ["receiver", "--port", "0", "--processes", "2"],
        "name it with --port",
    ),
}


@pytest.mark.parametrize(("arguments", "line"), WRONG.values(), ids=WRONG.keys())
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "clickhouse-scim.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert line in printed.err
    assert (printed.out, printed.err.count("\n")) == ("", 1)


def test_no_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["receiver", "worker"])
def test_a_broken_configuration_is_a_line_per_mistake_and_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(CONFIG + 'on_delete = "x"\n[receiver]\nport = "x"\n')
    assert main([name, "--config", str(file)]) == 2
    assert [line.partition(":")[0] for line in capsys.readouterr().err.splitlines()] == [
        "receiver.port",
        "tenants.acme.on_delete",
    ]


def test_the_configuration_can_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLICKHOUSE_SCIM_CONFIG", str(tmp_path / "nope.toml"))
    assert main(["worker"]) == 2
    assert "nope.toml: can't be read" in capsys.readouterr().err


def run(*arguments: str, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=dict(os.environ) | (environ or {}),
    )


def test_the_program_ends_with_the_exit_code(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(CONFIG)
    good = run("check-config", str(file))
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == f"{file}: no mistakes; tenants: 1, targets: 1\n"
    bad = run("check-config", str(file), environ={"CLICKHOUSE_SCIM__TENANTS__ACME__ON_DELETE": "x"})
    assert bad.returncode == 2
    assert bad.stderr.startswith("tenants.acme.on_delete: must be one of 'drop' or 'lock' (set by ")
