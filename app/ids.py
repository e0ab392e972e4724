"""Names for what is made here: resources, requests."""

from __future__ import annotations

import os


def new_id() -> str:
    """Return a random UUID (RFC 9562, version 4); `uuid.uuid4` takes several times as long."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
