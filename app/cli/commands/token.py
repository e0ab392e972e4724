"""Make, list, rotate and revoke the tokens of a tenant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.lookup import require_tenant
from app.cli.options import (
    NEVER,
    config_option,
    duration,
    json_option,
    objected,
    read_settings,
    yes_option,
)
from app.cli.output import iso, print_fields, print_object, print_rows

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.directory.link import Link
    from app.directory.tokens import NewToken

SCOPES = ("scim", "read", "ops")  # those of app.directory.tokens; a test holds them together
_ONCE = "The token is shown this once. It goes after `Bearer`; Basic takes id and secret."


def _network(text: str) -> str:
    from app.config.network import parse_network  # noqa: PLC0415 - not for --help

    try:
        return str(parse_network(text))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}.") from None


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
    help="scim: all of SCIM; read: GET only; ops: lanes and dead letters. May be given again.",
)
@click.option(
    "--expires-in",
    type=duration(least=1, never=True),
    default=NEVER,
    show_default=True,
    metavar="30d|SECONDS|never",
    help="An identity provider stops silently when its token ends: give an end if you will rotate.",
)
@click.option(
    "--network",
    "networks",
    type=_network,
    multiple=True,
    metavar="10.0.0.0/8",
    help="Good from this network only. May be given again.",
)
@config_option
@json_option
def create(
    *,
    tenant: str,
    scopes: tuple[str, ...],
    expires_in: int | str,
    networks: tuple[str, ...],
    config: Path,
    as_json: bool,
) -> None:
    """Make a token for TENANT and print it, this once: only a hash of it is kept.

    A tenant has two active tokens with the same scopes at most; one that was rotated and goes on
    for its overlap does not count.

    Example: clickhouse-scim token create acme --expires-in 365d
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_at  # noqa: PLC0415

    life_s = expires_in if isinstance(expires_in, int) else None
    wanted = tuple(dict.fromkeys(scopes))

    async def made(link: Link) -> NewToken:
        token = await tokens.created(link, tenant, wanted, life_s, networks)
        await _record(link, settings, tenant, "token.created", token.id, scopes=list(wanted))
        return token

    _print_new(run_at(settings, tenant, made), as_json=as_json)


@command.command("list")
@click.argument("tenant")
@config_option
@json_option
def list_(*, tenant: str, config: Path, as_json: bool) -> None:
    """List the tokens of TENANT, never a secret. `last_used_at` is some seconds late.

    Example: clickhouse-scim token list acme --json
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_at  # noqa: PLC0415

    rows = run_at(settings, tenant, lambda link: tokens.listed(link, tenant))
    empty = f"tenant {tenant} has no token; make one: clickhouse-scim token create {tenant}"
    columns = ("id", "state", "scopes", "created_at", "expires_at", "last_used_at", "networks")
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
@yes_option
@config_option
@json_option
def rotate(
    *, tenant: str, token_id: str, overlap: int, yes: bool, config: Path, as_json: bool
) -> int:
    """Make a token with the scopes and the length of life of token ID, which ends after --overlap.

    An old token that would end sooner by itself still does.

    Example: clickhouse-scim token rotate acme 0f3a9c2b41de --overlap 24h
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_at  # noqa: PLC0415

    question = f"End token {token_id} at once? The provider is refused until it has the new."
    if not overlap and objected(question, yes=yes):
        return 1
    token = run_at(settings, tenant, lambda link: tokens.successor(link, tenant, token_id))
    # Printed before the old one ends: whatever happens then, the new one is in somebody's hands.
    _print_new(token, as_json=as_json)

    async def ended(link: Link) -> int | None:
        end_ms = await tokens.ended(link, tenant, token_id, overlap)
        await _record(
            link, settings, tenant, "token.rotated", token_id, by=token.id, ends_at=iso(end_ms)
        )
        return end_ms

    end_ms = run_at(settings, tenant, ended)
    if not as_json:
        click.echo(f"Token {token_id} " + (f"ends {iso(end_ms)}." if end_ms else "has ended."))
    return 0


@command.command("revoke")
@click.argument("tenant")
@click.argument("token_id", metavar="ID")
@yes_option
@config_option
@json_option
def revoke(*, tenant: str, token_id: str, yes: bool, config: Path, as_json: bool) -> int:
    """End token ID of TENANT at once. Receivers refuse it within a second.

    Example: clickhouse-scim token revoke acme 0f3a9c2b41de
    """
    settings = _settings(config, tenant)
    from app.cli import tokens  # noqa: PLC0415 - not for --help
    from app.cli.linked import run_at  # noqa: PLC0415

    question = f"End token {token_id} at once? Whoever comes with it is refused then."
    if objected(question, yes=yes):
        return 1

    async def revoked(link: Link) -> None:
        await tokens.revoked(link, tenant, token_id)
        await _record(link, settings, tenant, "token.revoked", token_id)

    run_at(settings, tenant, revoked)
    if as_json:
        print_object({"id": token_id, "revoked": True})
    else:
        click.echo(f"Token {token_id} of tenant {tenant} is revoked.")
    return 0


def _settings(config: Path, tenant: str) -> Settings:
    settings = read_settings(config)
    require_tenant(settings, tenant)
    return settings


async def _record(
    link: Link, settings: Settings, tenant: str, action: str, token_id: str, **detail: Any
) -> None:
    from app.cli.actions import record_action  # noqa: PLC0415 - not for --help

    await record_action(link, settings, tenant, action, subject=token_id, **detail)


def _print_new(token: NewToken, *, as_json: bool) -> None:
    from app.cli.tokens import shown_once  # noqa: PLC0415 - not for --help

    fields: dict[str, Any] = shown_once(token)
    if not as_json:
        fields["expires_at"] = fields["expires_at"] or NEVER
    print_fields(fields, as_json=as_json)
    if not as_json:
        click.echo(_ONCE)
