"""The name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(written: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `written` is most likely a slip of, None if none is near."""
    return next(iter(difflib.get_close_matches(written, list(known), n=1, cutoff=0.6)), None)
