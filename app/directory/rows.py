"""Lanes and dead letters as programs are shown them, by commands and over HTTP alike."""

from __future__ import annotations

from typing import Any

from app.directory.lanes import LaneStatus, Letter
from app.scim.present import timestamp


def lane_row(status: LaneStatus) -> dict[str, Any]:
    return {
        "tenant": status.tenant,
        "target": status.target,
        "state": status.state,
        "last_seq": status.last_seq,
        "applied_seq": status.applied_seq,
        "lag_seconds": status.lag_seconds,
        "dead_letters": status.dead_letters,
        "last_error": status.last_error,
        "revocation_since": None
        if status.revocation_since_ms is None
        else timestamp(status.revocation_since_ms),
    }


def letter_row(tenant: str, target: str, letter: Letter) -> dict[str, Any]:
    return {
        "id": f"{tenant}/{target}/{letter.resource_id}",
        "tenant": tenant,
        "target": target,
        "resource_type": letter.resource_type,
        "resource_id": letter.resource_id,
        "name": letter.name,
        "seq_first": letter.seq_first,
        "seq_last": letter.seq_last,
        "code": letter.code,
        "error": letter.error,
        "attempts": letter.attempts,
        "first_at": timestamp(letter.first_ms),
        "last_at": timestamp(letter.last_ms),
    }
