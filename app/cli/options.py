"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from app.config.environment import CONFIG_VARIABLE, DEFAULT_PATH, process_environ

if TYPE_CHECKING:
    from app.config.settings import Settings

NEVER = "never"
LONGEST_S = 100 * 365 * 86400
_DURATION = re.compile(r"([0-9]{1,10})([smhd]?)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

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


def tenant_option(function: Function) -> Function:
    """Add `--tenant`, passed as `tenant: str | None`."""
    return click.option("--tenant", metavar="TENANT", help="Of this tenant only.")(function)


def target_option(function: Function) -> Function:
    """Add `--target`, passed as `target: str | None`."""
    return click.option("--target", metavar="TARGET", help="Of this target only.")(function)


def yes_option(function: Function) -> Function:
    """Add `--yes`, passed as `yes: bool`: what goes before `confirmed` or `objected`."""
    return click.option("--yes", is_flag=True, help="Don't ask.")(function)


def objected(question: str, *, yes: bool) -> bool:
    """Return whether a person who is asked says no, and tell them that nothing was done then.

    Of what can be made good again, and other programs do as well: where nobody is there to be
    asked, nobody objects.
    """
    sees = sys.stdin.isatty() and sys.stderr.isatty()
    if yes or not sees or click.confirm(question, err=True):
        return False
    click.echo("Nothing was done.", err=True)
    return True


def confirmed(question: str, details: Iterable[str] = ()) -> bool:
    """Ask a person on stderr, after showing `details`. Raises UsageError if nobody is there.

    Of what can't be made good again.
    """
    if not sys.stdin.isatty():
        context = click.get_current_context(silent=True)
        raise click.UsageError("nobody is there to be asked; add --yes.", context)
    for line in details:
        click.echo(line, err=True)
    return click.confirm(question, err=True)


def duration(*, least: int = 0, never: bool = False) -> Callable[[str], int | str]:
    """Return a type of options: `30d`, `24h`, `15m`, `90s` or `90` becomes whole seconds.

    `least`: the shortest that is taken, in seconds. `never`: whether the word NEVER is taken, which
    stays as it is.
    """

    def length_of_time(text: str) -> int | str:
        if never and text == NEVER:
            return text
        match = _DURATION.fullmatch(text)
        if match is None:
            some = "30d, 24h, 15m or seconds" + ", or never" * never
            raise click.BadParameter(f"{text!r} is no length of time; write {some}.")
        seconds = int(match[1]) * _SECONDS[match[2] or "s"]
        if not least <= seconds <= LONGEST_S:
            raise click.BadParameter(f"{text} is not between {least} s and 100 years.")
        return seconds

    return length_of_time


def read_settings(path: Path) -> Settings:
    """Return the checked configuration. Raises ConfigError: exit code 2, a line per mistake."""
    from app.config.load import load  # noqa: PLC0415 - --help needs no pydantic

    return load(path, process_environ())


def read_joined_settings(path: Path) -> Settings:
    """Return the checked configuration with the servers that workers have found in clusters.

    Raises ConfigError, and ClickException (exit code 1) if Redis has to be asked and is not there.
    """
    from app.config.nodes import clustered  # noqa: PLC0415 - see above

    settings = read_settings(path)
    if not clustered(settings):
        return settings
    from app.cli.linked import run_linked  # noqa: PLC0415
    from app.clock import Clock  # noqa: PLC0415
    from app.directory.servers import settings_with_servers  # noqa: PLC0415

    now_ms = Clock().now_ms()
    return run_linked(settings, lambda shards: settings_with_servers(shards, settings, now_ms))


def this_program(*arguments: str) -> list[str]:
    """Return the command line that runs a command of this program in a process of its own."""
    return [sys.executable, "-m", "app.cli.main", *arguments]
