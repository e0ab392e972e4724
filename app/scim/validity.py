"""An extension of our own: until when a user or an agent has access.

No RFC has an end of validity; ClickHouse has: it refuses log-ins from that moment on, and the next
query of sessions that are open (720 USER_EXPIRED), whether or not we are there to see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from app.scim.attribute import Attribute, Schema

VALIDITY_URN = "urn:clickhouse-scim:params:scim:schemas:extension:clickhouse:2.0:Validity"

VALIDITY = Schema(
    id=VALIDITY_URN,
    name="Validity",
    description="Until when the resource has access",
    announced=False,
    attributes=(
        Attribute(
            name="validUntil",
            type="dateTime",
            description="When access ends; UTC where no zone is given. Absent: it does not end.",
        ),
    ),
)

_LAST = 0xFFFF_FFFF  # ClickHouse keeps whole seconds since 1970 in 32 bits: until 2106


def valid_until(document: Mapping[str, Any]) -> int | None:
    """Return the end of validity in whole seconds since 1970, rounded down; None for no end."""
    return seconds(document.get(VALIDITY.id, {}).get("validUntil"))


def seconds(text: str | None) -> int | None:
    """Return a dateTime in whole seconds since 1970, rounded down; None for no end.

    UTC where no zone is given. What lies beyond 2106 can't be told to ClickHouse, and is no end.
    """
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() // 1)
    return None if seconds > _LAST else max(seconds, 0)
