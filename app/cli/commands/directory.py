"""Make a directory anew out of the ledger, or bring directories to another Redis."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.options import config_option, json_option, read_joined_settings, read_settings
from app.cli.output import print_object, print_rows

_IN_PLACE = "every tenant is in its place"


@click.group("directory")
def command() -> None:
    """Make a directory anew out of the ledger, or bring directories to another Redis.

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


@command.command("move", short_help="Bring tenants to the Redis that the list gives them.")
@click.option("--from", "old", metavar="URL", help="A Redis that is in the list no longer.")
@click.option(
    "--lost",
    multiple=True,
    metavar="NAME",
    help="One of an earlier list that will never be back, as the refusal names it.",
)
@config_option
@json_option
def move(*, old: str | None, lost: tuple[str, ...], config: Path, as_json: bool) -> None:
    """Bring every tenant to the Redis where [redis] puts it, after the list has changed.

    Receivers and workers have to be stopped everywhere, and start with the new list afterwards. An
    interrupted move goes on where it was when the command is given again. Of a Redis that is --lost
    nothing is brought: see `directory rebuild`.

    Example: clickhouse-scim directory move --from redis://redis-3.internal:6379/0
    """
    settings = read_settings(config)
    from app.cli.linked import run_linked  # noqa: PLC0415 - not for --help
    from app.cli.moving import moved  # noqa: PLC0415
    from app.config.redis import parse_url  # noqa: PLC0415

    if old is not None:
        try:
            parse_url(old)
        except ValueError as error:
            raise click.UsageError(f"--from {error}") from None
    rows = run_linked(settings, lambda shards: moved(shards, settings, old, lost))
    print_rows(rows, ("tenant", "from", "to", "keys"), as_json=as_json, empty=_IN_PLACE)
