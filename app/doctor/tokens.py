"""Whether each tenant's identity provider can log in, and for how long still; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from app.directory.tokens import TokenRecord
from app.doctor.finding import Finding, fail, ok, warn

SOON_S = 14 * 86400
_DAY_S = 86400


def judge_tokens(tenant: str, tokens: Collection[TokenRecord], now_ms: int) -> Iterator[Finding]:
    """Yield a finding for each token that ends soon and that none outlives, else one for all."""
    rotate = f"clickhouse-scim token rotate {tenant}"
    usable = [t for t in tokens if "scim" in t.scopes and _left_s(t, now_ms) > 0]
    if not usable:
        told = "all its tokens have ended" if tokens else "it has no token"
        yield fail("tokens", tenant, told, f"clickhouse-scim token create {tenant}")
        return
    last = max(usable, key=lambda token: _left_s(token, now_ms))
    left_s = _left_s(last, now_ms)
    if left_s < SOON_S:
        told = f"token {last.id} ends in {_duration(left_s)}, and none after it"
        yield warn(
            "tokens", tenant, told, f"{rotate} {last.id}, and give the new one to the provider"
        )
    else:
        yield ok("tokens", tenant, f"{len(usable)} can be used")


def _left_s(token: TokenRecord, now_ms: int) -> float:
    return float("inf") if token.expires_ms is None else (token.expires_ms - now_ms) / 1000


def _duration(seconds: float) -> str:
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.0f} days"
    return f"{seconds / 3600:.0f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
