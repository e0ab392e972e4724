"""Look at Redis, targets and tokens, or at a live endpoint as its provider does."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.options import config_option, confirmed, json_option, read_settings, yes_option
from app.cli.output import print_rows

if TYPE_CHECKING:
    from app.doctor.finding import Finding
    from app.doctor.provider import Provider

PROVIDERS = ("okta", "entra")  # those of app.doctor.provider; a test holds them together
TOKEN_VARIABLE = "CLICKHOUSE_SCIM_TOKEN"  # noqa: S105 - the name of a variable
_COLUMNS = ("status", "check", "subject", "finding", "mend")


@click.command("doctor")
@click.argument("url", required=False)
@click.argument("token", required=False, envvar=TOKEN_VARIABLE)
@click.option(
    "--as",
    "provider",
    type=click.Choice(PROVIDERS),
    help="Ask URL what this provider asks in its connection test and its first sync.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with the token; TOKEN on the command line is seen by everybody on this machine.",
)
@click.option(
    "--domain", default="doctor.invalid", show_default=True, help="Of the user that is made."
)
@click.option("--read-only", is_flag=True, help="The connection test alone: make nobody.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="Trust this authority as well.")
@yes_option
@config_option
@json_option
def command(
    *,
    url: str | None,
    token: str | None,
    provider: Provider | None,
    token_file: Path | None,
    domain: str,
    read_only: bool,
    ca_file: Path | None,
    yes: bool,
    config: Path,
    as_json: bool,
) -> int:
    """Look at everything that the configuration names. Exit code 1 if something fails.

    Redis: reachable, durable, never evicting, its clock. Targets: each host, log-in, version,
    clock, the rights of the workers' account. Tokens: whether there is one, and when it ends.
    Nothing is changed. With --json: an array of {check, subject, status, finding, mend}.

    With --as, URL (https://HOST/scim/TENANT/v2) is asked as the provider would ask it, and each
    row says what its administrator would see. The token comes from --token-file or from the
    environment variable CLICKHOUSE_SCIM_TOKEN. The first sync makes a user and a group, which are
    taken away again; the user gets the tenant's default roles for that long.

    Example: clickhouse-scim doctor --config clickhouse-scim.toml

    Example: clickhouse-scim doctor --as okta https://scim.example.com/scim/acme/v2 --token-file t
    """
    if provider is None:
        if url is not None or token_file is not None:
            raise click.UsageError("URL and --token-file belong to --as okta or --as entra.")
        settings = read_settings(config)
        from app.cli.examining import examine  # noqa: PLC0415 - not for --help

        return _told(examine(settings), as_json=as_json)
    if url is None:
        raise click.UsageError("name the base URL: https://HOST/scim/TENANT/v2.")
    secret = token if token_file is None else token_file.read_text(encoding="utf-8").strip()
    if not secret:
        raise click.UsageError(f"give the token: --token-file FILE, or {TOKEN_VARIABLE}.")
    question = f"Make a user and a group at {url}, and take them away again?"
    if not (read_only or yes or confirmed(question)):
        click.echo("Nothing is asked. --read-only makes nobody.", err=True)
        return 1
    from app.doctor.provider import visit  # noqa: PLC0415 - not for --help

    steps = visit(url, secret, provider, domain=domain, read_only=read_only, ca_file=ca_file)
    return _told(steps, as_json=as_json)


def _told(looking: Awaitable[list[Finding]], *, as_json: bool) -> int:
    """Print the findings; return the exit code."""
    import asyncio  # noqa: PLC0415 - not for --help

    from app.doctor.finding import Status  # noqa: PLC0415

    async def look() -> list[Finding]:
        return await looking

    found = asyncio.run(look())
    rows: list[dict[str, Any]] = [
        {
            "check": one.check,
            "subject": one.subject,
            "status": one.status.value,
            "finding": one.finding,
            "mend": one.mend,
        }
        for one in found
    ]
    print_rows(rows, _COLUMNS, as_json=as_json, empty="there is nothing to look at")
    return int(any(one.status is Status.FAIL for one in found))
