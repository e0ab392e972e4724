"""Telling the ledger what operators do."""

from __future__ import annotations

import getpass
import json
import socket
import time
import uuid
from typing import TYPE_CHECKING, Any

from app.directory.facts import AdminAction, Facts

if TYPE_CHECKING:
    from app.config.settings import Settings
    from app.directory.link import Link


async def record_action(
    link: Link, settings: Settings, tenant: str, action: str, *, subject: str, **detail: Any
) -> None:
    """Have the ledger told that whoever runs this command did `action` to `subject`.

    `action`: noun.participle, such as `token.created`. `detail` holds no secret. Without a ledger
    nothing is told. Raises DirectoryUnavailable.
    """
    told = AdminAction(
        id=str(uuid.uuid4()),
        action=action,
        actor=actor(),
        subject=subject,
        detail=json.dumps(detail, ensure_ascii=False),
        at_ms=time.time_ns() // 1_000_000,
    )
    await Facts(link, settings.ledger).record(tenant, [told])


def actor() -> str:
    """Return who runs this program, as its machine knows them."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in many containers
        name = "?"
    return f"{name}@{socket.gethostname()}"
