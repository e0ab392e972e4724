"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.config.environment import CONFIG_VARIABLE, DEFAULT_PATH, process_environ

if TYPE_CHECKING:
    from app.config.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def config_option(function: Function) -> Function:
    """Add `--config FILE`, passed as `config: Path`."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        default=DEFAULT_PATH,
        envvar=CONFIG_VARIABLE,
        show_envvar=True,
        show_default=True,
        metavar="FILE",
        help="The configuration file.",
    )(function)


def json_option(function: Function) -> Function:
    """Add `--json`, passed as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(
        function
    )


def volatile_option(function: Function) -> Function:
    """Add `--allow-volatile-redis`, passed under that name."""
    return click.option(
        "--allow-volatile-redis",
        is_flag=True,
        help="Start although Redis could lose acknowledged changes. For trying things out.",
    )(function)


def read_settings(path: Path) -> Settings:
    """Return the checked configuration. Raises ConfigError: exit code 2, a line per mistake."""
    from app.config.load import load  # noqa: PLC0415 - --help needs no pydantic

    return load(path, process_environ())


def this_program(*arguments: str) -> list[str]:
    """Return the command line that runs a command of this program in a process of its own."""
    return [sys.executable, "-m", "app.cli.main", *arguments]
