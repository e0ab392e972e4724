"""Row filters: text that must be one ClickHouse expression and nothing after it."""

from __future__ import annotations

_CLOSING = {")": "(", "]": "[", "}": "{"}
_QUOTES = "'\"`"
# ClickHouse's lexer takes typographic quotes for quotes, $tag$ for a string, # -- // /* for
# comments and \G for an end: none of them is needed in a filter, each could hide its end.
_REFUSED = {
    ";": "ends the statement",
    "\\": "is only for strings",
    "#": "begins a comment",
    "--": "begins a comment",
    "//": "begins a comment",
    "/*": "begins a comment",
    "$": "begins a string of another kind",
    "\u2018": "is a typographic quote",
    "\u2019": "is a typographic quote",
    "\u201c": "is a typographic quote",
    "\u201d": "is a typographic quote",
}


class ExpressionError(ValueError):
    """The text is not one closed expression; the message says where."""


def check_expression(text: str) -> str:
    """Return `text` stripped, if what it opens it closes and nothing in it can end the statement.

    Written inside parentheses it then stays inside them, whatever it says. Whether ClickHouse
    can evaluate it is known only on the target, which knows the columns.
    """
    stripped = text.strip()
    if not stripped:
        raise ExpressionError("is empty; write a condition, as in tenant = 'acme'")
    open_marks: list[str] = []
    at = 0
    while at < len(stripped):
        char = stripped[at]
        if char in _QUOTES:
            at = _end_of_string(stripped, at)
            continue
        if not char.isprintable() and char not in "\n\t":
            raise ExpressionError(f"has an unprintable character at position {at + 1}")
        for mark, why in _REFUSED.items():
            if stripped.startswith(mark, at):
                raise ExpressionError(
                    f"has {mark!r} at position {at + 1}, which {why}; leave it out"
                )
        if char in _CLOSING.values():
            open_marks.append(char)
        elif char in _CLOSING and (not open_marks or open_marks.pop() != _CLOSING[char]):
            raise ExpressionError(f"closes {char!r} at position {at + 1} without opening it")
        at += 1
    if open_marks:
        raise ExpressionError(f"opens {open_marks[-1]!r} and does not close it")
    return stripped


def _end_of_string(text: str, start: int) -> int:
    """Return the place after the string that opens at `start`. A doubled quote reopens it."""
    at = start + 1
    while at < len(text):
        if text[at] == "\\":
            at += 2
        elif text[at] == text[start]:
            return at + 1
        else:
            at += 1
    raise ExpressionError(f"opens a string at position {start + 1} and does not close it")
