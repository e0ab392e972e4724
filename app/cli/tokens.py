"""What `token` does with a tenant's tokens in Redis, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from app.cli.output import iso
from app.clock import Clock
from app.directory import tokens
from app.directory.link import Link
from app.directory.tokens import NewToken, TokenRecord
from app.errors import TooManyTokens


async def created(
    link: Link,
    tenant: str,
    scopes: Sequence[str],
    expires_in_s: int | None,
    networks: Sequence[str] = (),
    *,
    instead_of: TokenRecord | None = None,
) -> NewToken:
    """Raises ClickException if the tenant has enough of them."""
    try:
        return await tokens.create(
            link,
            tenant,
            now_ms=Clock().now_ms(),
            scopes=scopes,
            expires_in_s=expires_in_s,
            networks=networks,
            instead_of=instead_of,
        )
    except TooManyTokens as error:
        raise click.ClickException(str(error)) from error


async def listed(link: Link, tenant: str) -> list[dict[str, Any]]:
    now_ms = Clock().now_ms()
    return [_row(record, now_ms) for record in await tokens.list_all(link, tenant)]


async def successor(link: Link, tenant: str, token_id: str) -> NewToken:
    """Make the token that takes the place of another: its scopes, networks, and as long a life.

    Raises ClickException if there is no such token.
    """
    record = await _found(link, tenant, token_id)
    life_s = None if record.expires_ms is None else (record.expires_ms - record.created_ms) // 1000
    return await created(link, tenant, record.scopes, life_s, record.networks, instead_of=record)


async def ended(link: Link, tenant: str, token_id: str, overlap_s: int) -> int | None:
    """Let a token end in `overlap_s`; return when, in ms since 1970, None if it is gone at once."""
    if overlap_s == 0:
        await tokens.revoke(link, tenant, token_id)
        return None
    end_ms = Clock().now_ms() + overlap_s * 1000
    await tokens.end_at(link, tenant, token_id, end_ms)
    return end_ms


async def revoked(link: Link, tenant: str, token_id: str) -> None:
    if not await tokens.revoke(link, tenant, token_id):
        raise _no_token(tenant, token_id)


def shown_once(token: NewToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "token": token.token,
        "secret": token.secret,
        "scopes": list(token.scopes),
        "expires_at": iso(token.expires_at_ms),
    }


async def _found(link: Link, tenant: str, token_id: str) -> TokenRecord:
    for record in await tokens.list_all(link, tenant):
        if record.id == token_id:
            return record
    raise _no_token(tenant, token_id)


def _no_token(tenant: str, token_id: str) -> click.ClickException:
    return click.ClickException(
        f"tenant {tenant} has no token {token_id!r}; `clickhouse-scim token list {tenant}`"
        " shows those that there are"
    )


def _row(record: TokenRecord, now_ms: int) -> dict[str, Any]:
    over = record.expires_ms is not None and record.expires_ms <= now_ms
    return {
        "id": record.id,
        "state": "expired" if over else "replaced" if record.replaced_by else "valid",
        "scopes": list(record.scopes),
        "created_at": iso(record.created_ms),
        "expires_at": iso(record.expires_ms),
        "last_used_at": iso(record.last_used_ms),
        "networks": list(record.networks),
        "replaced_by": record.replaced_by or None,
    }
