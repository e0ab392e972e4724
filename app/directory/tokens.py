"""Tokens of a tenant: 256 random bits, of which Redis keeps only a SHA-256.

A token reads `chscim_ID_SECRET`: the prefix lets secret scanners find it, the id finds its record.
A plain hash is enough for a random secret of this size; there is no dictionary to try.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from app.directory.keys import Keys
from app.directory.link import Link
from app.errors import TooManyTokens

PREFIX = "chscim"
SCOPES = ("scim", "read", "ops")
MOST = 2  # active tokens of a tenant with the same scopes, besides those that have a successor
_BEARER = re.compile(rf"{PREFIX}_([0-9a-f]{{12}})_([0-9a-f]{{64}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """Shown once, at creation. `token` goes after `Bearer`; Basic takes `id` and `secret`."""

    id: str
    token: str
    secret: str
    scopes: tuple[str, ...]
    expires_at_ms: int | None

    def __repr__(self) -> str:
        return f"NewToken(id={self.id!r})"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a request presented. `secret` never leaves this value but as a hash."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r})"


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a token. Times in ms since 1970; `expires_ms` None: never.

    `networks`: from where it may be used, empty for anywhere. `replaced_by`: the id of the token
    that was made in its place. `last_used_ms` is kept beside the record, and filled in by
    `list_all`.
    """

    id: str
    secret_sha256: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None = None
    networks: tuple[str, ...] = ()
    replaced_by: str = ""
    last_used_ms: int | None = None

    def admits(self, credential: Credential, now_ms: int) -> bool:
        """Compare in constant time, then look at the expiry."""
        same = hmac.compare_digest(_digest(credential.secret), self.secret_sha256)
        return same and (self.expires_ms is None or now_ms < self.expires_ms)


_decode = msgspec.json.Decoder(TokenRecord).decode
_NOBODY = TokenRecord(id="", secret_sha256="0" * 64, scopes=(), created_ms=0, expires_ms=0)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def parse_authorization(header: str | None) -> Credential | None:
    """Return what an `Authorization` header holds: Bearer token, or Basic with id and secret."""
    scheme, _, value = (header or "").strip().partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        match = _BEARER.fullmatch(value)
        return Credential(match[1], match[2]) if match else None
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(value, validate=True).decode()
        except ValueError:  # no base64, not ASCII, not UTF-8
            return None
        token_id, _, secret = pair.partition(":")
        return Credential(token_id, secret)
    return None


async def create(
    link: Link,
    tenant: str,
    *,
    now_ms: int,
    scopes: Sequence[str] = ("scim",),
    expires_in_s: int | None = None,
    networks: Sequence[str] = (),
    instead_of: TokenRecord | None = None,
) -> NewToken:
    """Make a token. `instead_of`: the one that ends when its owner has taken this one.

    Raises TooManyTokens if the tenant has `MOST` tokens with these scopes that have neither ended
    nor a successor, DirectoryUnavailable.
    """
    token_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    expires_ms = None if expires_in_s is None else now_ms + expires_in_s * 1000
    record = TokenRecord(
        id=token_id,
        secret_sha256=_digest(secret),
        scopes=tuple(scopes),
        created_ms=now_ms,
        expires_ms=expires_ms,
        networks=tuple(networks),
    )
    await _keep(link, tenant, record, now_ms, instead_of)
    return NewToken(
        id=token_id,
        token=f"{PREFIX}_{token_id}_{secret}",
        secret=secret,
        scopes=record.scopes,
        expires_at_ms=expires_ms,
    )


async def _keep(
    link: Link, tenant: str, record: TokenRecord, now_ms: int, before: TokenRecord | None
) -> None:
    replaced: tuple[str | bytes, str | bytes, str | bytes] = ("", "", "")
    while True:
        if before is not None:
            key = Keys(tenant).tokens
            raw = await link.call(link.redis.hget(key, before.id))  # type: ignore[arg-type]
            if raw is not None:
                after = msgspec.structs.replace(_decode(raw), replaced_by=record.id)
                replaced = before.id, raw, msgspec.json.encode(after)
        reply = await link.scripts.run(
            "token_create",
            Keys(tenant).seq,
            record.id,
            msgspec.json.encode(record),
            now_ms,
            " ".join(record.scopes),
            MOST,
            *replaced,
        )
        if reply == b"many":
            scopes = ", ".join(record.scopes)
            raise TooManyTokens(
                f"tenant {tenant} has {MOST} active tokens for {scopes} already:"
                " rotate or revoke one of them"
            )
        if reply == b"ok":
            return


async def list_all(link: Link, tenant: str) -> list[TokenRecord]:
    """Return the tokens of the tenant, the oldest first, with when each was last used."""
    return (await read_tokens(link, [tenant]))[tenant]


async def note_uses(link: Link, tenant: str, uses: Mapping[str, int]) -> None:
    """Remember when these tokens were used, ms since 1970 by id; of those that there are."""
    pipe = link.redis.pipeline(transaction=False)
    for token_id in uses:
        pipe.hexists(Keys(tenant).tokens, token_id)
    there = await link.call(pipe.execute())
    known = {i: str(ms) for (i, ms), is_there in zip(uses.items(), there, strict=True) if is_there}
    if known:
        await link.call(link.redis.hset(Keys(tenant).uses, mapping=known))  # type: ignore[arg-type]


async def read_tokens(link: Link, tenants: Sequence[str]) -> dict[str, list[TokenRecord]]:
    """Return the same of each of these tenants, in one round trip."""
    pipe = link.redis.pipeline(transaction=False)
    for tenant in tenants:
        pipe.hvals(Keys(tenant).tokens)
        pipe.hgetall(Keys(tenant).uses)
    found = await link.call(pipe.execute()) if tenants else []
    return {
        tenant: _with_uses(raw, uses)
        for tenant, raw, uses in zip(tenants, found[::2], found[1::2], strict=True)
    }


def _with_uses(raw: Iterable[bytes], uses: Mapping[bytes, bytes]) -> list[TokenRecord]:
    used = {i.decode(): int(ms) for i, ms in uses.items()}
    records = sorted(map(_decode, raw), key=lambda record: record.created_ms)
    return [msgspec.structs.replace(one, last_used_ms=used.get(one.id)) for one in records]


async def revoke(link: Link, tenant: str, token_id: str) -> bool:
    """Return whether there was such a token. Receivers notice within `CACHE_S`."""
    pipe = link.redis.pipeline(transaction=True)
    pipe.hdel(Keys(tenant).tokens, token_id)
    pipe.hdel(Keys(tenant).uses, token_id)
    removed, _ = await link.call(pipe.execute())
    return bool(removed)


async def authenticate(
    link: Link, tenant: str, credential: Credential, now_ms: int
) -> TokenRecord | None:
    """Return the token's record, or None for every kind of failure, at the same cost."""
    raw: bytes | None = await link.call(link.redis.hget(Keys(tenant).tokens, credential.id))  # type: ignore[arg-type]
    record = _decode(raw) if raw else _NOBODY
    return record if record.admits(credential, now_ms) else None


async def end_at(link: Link, tenant: str, token_id: str, end_ms: int) -> bool:
    """Let the token end at `end_ms` unless it ends before; return whether there was such a token.

    Compares and sets: a revocation in between is not undone. Receivers notice within `CACHE_S`.
    """
    key = Keys(tenant).tokens
    while True:
        raw: bytes | None = await link.call(link.redis.hget(key, token_id))  # type: ignore[arg-type]
        if raw is None:
            return False
        record = _decode(raw)
        if record.expires_ms is not None and record.expires_ms <= end_ms:
            return True
        ending = msgspec.json.encode(msgspec.structs.replace(record, expires_ms=end_ms))
        if await link.scripts.run("token_end", Keys(tenant).seq, token_id, raw, ending):
            return True
