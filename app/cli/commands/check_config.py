"""Check a configuration file and tell every mistake."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import json_option, read_settings
from app.cli.output import print_object
from app.config.environment import CONFIG_VARIABLE, DEFAULT_PATH
from app.errors import ConfigError


@click.command("check-config")
@click.argument(
    "file", type=click.Path(path_type=Path), default=DEFAULT_PATH, envvar=CONFIG_VARIABLE
)
@json_option
def command(*, file: Path, as_json: bool) -> None:
    """Check FILE and tell every mistake at once, each with its key. Exit code 2 if there is one.

    Environment variables that override values count, and so do files and variables that hold
    passwords. With --json: an array of {key, reason}, empty if all is well.

    Example: clickhouse-scim check-config /etc/clickhouse-scim.toml
    """
    try:
        settings = read_settings(file)
    except ConfigError as error:
        if as_json:
            print_object([{"key": one.key, "reason": one.reason} for one in error.problems])
        raise
    if as_json:
        print_object([])
    else:
        tenants, targets = len(settings.tenants), len(settings.targets)
        click.echo(f"{file}: no mistakes; tenants: {tenants}, targets: {targets}")
