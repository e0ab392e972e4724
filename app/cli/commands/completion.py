"""Print what makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "clickhouse-scim"
VARIABLE = "_CLICKHOUSE_SCIM_COMPLETE"  # click looks for it in every call


@click.command("completion")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print a script for SHELL that completes commands and options; have it read at each start.

    Example: clickhouse-scim completion bash >> ~/.bash_completion
    """
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click has all three
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
