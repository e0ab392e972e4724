"""Names and literals as SQL: whatever they hold, the parser reads the same text back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

_ESCAPES = {"\\": "\\\\", "\0": "\\0", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r"}
_ESCAPES["\t"] = "\\t"
_IDENTIFIER = str.maketrans(_ESCAPES | {"`": "\\`"})
_LITERAL = str.maketrans(_ESCAPES | {"'": "\\'"})

# With a time, not only a date, and no zone: long past in every zone that a server may have.
PAST = "'2000-01-01 00:00:00'"
# Just as long past, and told from it: an operator holds this user (see `Door.HELD`).
HELD, HELD_AT, HELD_WITHIN_S = "'2000-02-02 00:00:00'", 949_449_600, 86_400
# Below this, in seconds since 1970, an end is a lock; what is to end at a time ends later.
FIRST_END = 978_307_200

_SECRETS = re.compile(r"(\b(?:BY|SALT)\s+)'(?:[^'\\]|\\.)*'?", re.IGNORECASE)
_HASH = re.compile(r"\b[0-9A-Fa-f]{64}\b|\$2[abxy]\$\S{1,60}")


def quote_identifier(name: str) -> str:
    """Return `name` in backticks: always, so that `bob@example.com` is one name, without HOST."""
    if not name:
        raise ValueError("a ClickHouse name can't be empty")
    return f"`{name.translate(_IDENTIFIER)}`"


def quote_literal(value: str) -> str:
    return f"'{value.translate(_LITERAL)}'"


def quote_time(seconds: int) -> str:
    """Return seconds since 1970 as VALID UNTIL takes them, in any time zone of the server."""
    return f"'{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}'"


def masked(text: str) -> str:
    """Return a statement, or what a server says of one, without the password hashes in it."""
    return _HASH.sub("…", _SECRETS.sub(r"\1'…'", text))


def identifiers(names: Iterable[str]) -> str:
    return ", ".join(map(quote_identifier, names))


def literals(values: Iterable[str]) -> str:
    return ", ".join(map(quote_literal, values))
