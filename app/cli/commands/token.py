"""Make, list, rotate and revoke the tokens of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import require_tenant
from app.cli.options import NEVER, config_option, duration, json_option, read_settings
from app.cli.output import iso, print_fields, print_object, print_rows

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.directory.tokens import NewToken

SCOPES = ("scim", "read", "ops")  # those of app.directory.tokens; a test holds them together
_ONCE = "The token is shown this once. It goes after `Bearer`; Basic takes id and secret."


@click.group("token")
def command() -> None:
    """Make, list, rotate and revoke the tokens with which identity providers come.

    Example: clickhouse-scim token create acme
    """


@command.command("create", short_help="Make a token and print it once.")
@click.argument("tenant")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    default=("scim",),
    show_default=True,
    help="scim: all of SCIM; read: GET only; ops: nothing in this version. May be given again.",
)
@click.option(
    "--expires-in",
    type=duration(least=1, never=True),
    default=NEVER,
    show_default=True,
    metavar="30d|SECONDS|never",
    help="An identity provider stops silently when its token ends: give an end if you will rotate.",
)
@config_option
@json_option
def create(
    *, tenant: str, scopes: tuple[str, ...], expires_in: int | str, config: Path, as_json: bool
) -> None:
    """Make a token for TENANT and print it, this once: only a hash of it is kept.

    Example: clickhouse-scim token create acme --expires-in 365d
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    life_s = expires_in if isinstance(expires_in, int) else None
    wanted = tuple(dict.fromkeys(scopes))
    token = run_linked(settings, lambda link: tokens.created(link, tenant, wanted, life_s))
    _print_new(token, as_json=as_json)


@command.command("list")
@click.argument("tenant")
@config_option
@json_option
def list_(*, tenant: str, config: Path, as_json: bool) -> None:
    """List the tokens of TENANT, never a secret. When one was last used is not recorded yet.

    Example: clickhouse-scim token list acme --json
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    rows = run_linked(settings, lambda link: tokens.listed(link, tenant))
    empty = f"tenant {tenant} has no token; make one: clickhouse-scim token create {tenant}"
    columns = ("id", "state", "scopes", "created_at", "expires_at")
    shown = rows if as_json else [row | {"expires_at": row["expires_at"] or NEVER} for row in rows]
    print_rows(shown, columns, as_json=as_json, empty=empty)


@command.command("rotate", short_help="Make a token in place of another.")
@click.argument("tenant")
@click.argument("token_id", metavar="ID")
@click.option(
    "--overlap",
    type=duration(),
    default="24h",
    show_default=True,
    metavar="24h|SECONDS",
    help="How long the old token goes on; 0 ends it at once.",
)
@config_option
@json_option
def rotate(*, tenant: str, token_id: str, overlap: int, config: Path, as_json: bool) -> None:
    """Make a token with the scopes and the length of life of token ID, which ends after --overlap.

    An old token that would end sooner by itself still does.

    Example: clickhouse-scim token rotate acme 0f3a9c2b41de --overlap 24h
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    token = run_linked(settings, lambda link: tokens.successor(link, tenant, token_id))
    # Printed before the old one ends: whatever happens then, the new one is in somebody's hands.
    _print_new(token, as_json=as_json)
    end_ms = run_linked(settings, lambda link: tokens.ended(link, tenant, token_id, overlap))
    if not as_json:
        click.echo(f"Token {token_id} " + (f"ends {iso(end_ms)}." if end_ms else "has ended."))


@command.command("revoke")
@click.argument("tenant")
@click.argument("token_id", metavar="ID")
@config_option
@json_option
def revoke(*, tenant: str, token_id: str, config: Path, as_json: bool) -> None:
    """End token ID of TENANT at once. Receivers refuse it within a second.

    Example: clickhouse-scim token revoke acme 0f3a9c2b41de
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_linked  # noqa: PLC0415

    run_linked(settings, lambda link: tokens.revoked(link, tenant, token_id))
    if as_json:
        print_object({"id": token_id, "revoked": True})
    else:
        click.echo(f"Token {token_id} of tenant {tenant} is revoked.")


def _settings(config: Path, tenant: str) -> Settings:
    settings = read_settings(config)
    require_tenant(settings, tenant)
    return settings


def _print_new(token: NewToken, *, as_json: bool) -> None:
    from app.cli.tokens import shown_once  # noqa: PLC0415 - not for --help

    fields: dict[str, Any] = shown_once(token)
    if not as_json:
        fields["expires_at"] = fields["expires_at"] or NEVER
    print_fields(fields, as_json=as_json)
    if not as_json:
        click.echo(_ONCE)
