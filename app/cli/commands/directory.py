"""Make a directory anew out of the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import config_option, json_option, read_joined_settings
from app.cli.output import print_object


@click.group("directory")
def command() -> None:
    """Make a directory anew out of the ledger.

    Example: clickhouse-scim directory rebuild acme
    """


@command.command("rebuild", short_help="Fill an empty Redis with a tenant's directory.")
@click.argument("tenant")
@click.option(
    "--despite-breaks",
    is_flag=True,
    help="Go on although the ledger's chain is broken: somebody may have changed the events.",
)
@config_option
@json_option
def rebuild(*, tenant: str, despite_breaks: bool, config: Path, as_json: bool) -> None:
    """Fill an empty Redis with TENANT's directory as the ledger knows it, ids and versions too.

    Stop the receivers before. Afterwards lanes go through the whole directory, and find on the
    targets what is there already. Tokens and passwords are in no ledger: make tokens with
    `token create`, and have the identity provider push passwords again. What was interrupted is run
    again.

    Example: clickhouse-scim directory rebuild acme
    """
    settings = read_joined_settings(config)
    from app.cli.rebuilding import rebuilt  # noqa: PLC0415 - not for --help

    done = rebuilt(settings, tenant, despite_breaks=despite_breaks)
    if as_json:
        print_object(done)
    else:
        click.echo(
            f"The directory of {tenant} is as after event {done['seq']}: {done['users']} users,"
            f" {done['groups']} groups, {done['resources']} resources in all."
            f" Now make a token: clickhouse-scim token create {tenant}"
        )
