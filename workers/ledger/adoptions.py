"""What the ledger knows of users that were adopted: what they were, and what operators said."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from app.directory.facts import ADOPTION_KEPT
from workers.access.statements.quoting import literals, quote_literal
from workers.ledger.store import Store

_SAID: dict[str, Literal["yes", "no"]] = {"user.adopted": "yes", "user.given_back": "no"}


class _Detail(msgspec.Struct):
    target: str
    record: str = ""


_detail = msgspec.json.Decoder(_Detail).decode


@dataclass(slots=True)
class Adoptions:
    """Of one target, by ClickHouse name, as `LaneStore` keeps both."""

    records: dict[str, str] = field(default_factory=dict)
    consents: dict[str, Literal["yes", "no"]] = field(default_factory=dict)


async def read_adoptions(store: Store, tenant: str) -> dict[str, Adoptions]:
    """Return, by target, what was said and kept last of each user of the tenant."""
    rows = await store.query(
        "SELECT action, subject, detail FROM admin_actions FINAL"  # noqa: S608 - quoted
        f" WHERE tenant = {quote_literal(tenant)}"
        f" AND action IN ({literals([ADOPTION_KEPT, *_SAID])}) ORDER BY at"
    )
    found: defaultdict[str, Adoptions] = defaultdict(Adoptions)
    for action, user, raw in rows:
        detail = _detail(raw)
        if action == ADOPTION_KEPT:
            found[detail.target].records[user] = detail.record
        else:
            found[detail.target].consents[user] = _SAID[action]
    return dict(found)
