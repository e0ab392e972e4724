"""Comparing names: one place decides when two names are the same."""

from __future__ import annotations

import unicodedata


def fold(value: str) -> str:
    """Return the form under which `userName` and `displayName` are compared (caseExact false).

    NFC first, so that two encodings of one letter are one name; then Unicode case folding.
    RFC 7643 §4.1.1 leaves the comparison to the server; `externalId` is never folded (§3.1).
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).casefold())
