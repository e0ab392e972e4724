"""Names and literals as SQL: whatever they hold, the parser reads the same text back."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPES = {"\\": "\\\\", "\0": "\\0", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r"}
_ESCAPES["\t"] = "\\t"
_IDENTIFIER = str.maketrans(_ESCAPES | {"`": "\\`"})
_LITERAL = str.maketrans(_ESCAPES | {"'": "\\'"})

# With a time, not only a date, and no zone: long past in every zone that a server may have.
PAST = "'2000-01-01 00:00:00'"


def quote_identifier(name: str) -> str:
    """Return `name` in backticks: always, so that `bob@example.com` is one name, without HOST."""
    if not name:
        raise ValueError("a ClickHouse name can't be empty")
    return f"`{name.translate(_IDENTIFIER)}`"


def quote_literal(value: str) -> str:
    return f"'{value.translate(_LITERAL)}'"


def identifiers(names: Iterable[str]) -> str:
    return ", ".join(map(quote_identifier, names))


def literals(values: Iterable[str]) -> str:
    return ", ".join(map(quote_literal, values))
