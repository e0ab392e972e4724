"""Patterns of group names, and roles whose names take a part of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WILD = re.compile(r"[*?]")
_PLACE = re.compile(r"\{([^{}]*)\}")
MAX_WILDCARDS = 9


def check_pattern(text: str) -> str:
    """Return `text` if it is a pattern: `*` stands for any characters, `?` for one."""
    stars = len(_WILD.findall(text))
    if not stars:
        raise ValueError("has no * and no ?; write group instead, if one group is meant")
    if stars > MAX_WILDCARDS:
        raise ValueError(f"has more than {MAX_WILDCARDS} wildcards")
    return text


def wrong_places(role: object, pattern: str) -> str | None:
    """Return what is wrong with the `{1}` of a role beside this pattern, "" for none; else None."""
    if not isinstance(role, str):
        return None
    count = len(_WILD.findall(pattern))
    for place in _PLACE.findall(role):
        if not (place.isascii() and place.isdigit() and 1 <= int(place) <= count):
            if not pattern:
                return f"asks for {{{place}}}, which only a pattern has"
            return (
                f"asks for {{{place}}}, but the pattern's wildcards are {count}; count from {{1}}"
            )
    if "{" in _PLACE.sub("", role) or "}" in _PLACE.sub("", role):
        return "has a brace that is no place as in {1}"
    return None


def parts_of(name: str, pattern: str) -> tuple[str, ...] | None:
    """Return what each wildcard stands for in `name`, as it is written there; None if it doesn't
    fit. Case makes no difference; of several ways the first wildcards take the least.

    Only the latest `*` is ever widened, so the time is at most the product of both lengths,
    whatever a group is called.
    """
    ends: list[tuple[int, int]] = []  # of each wildcard: where its part begins and ends
    at = here = 0
    latest: tuple[int, int, int] | None = None  # the latest *: its place, its end, parts before it
    while here < len(name) or at < len(pattern):
        wild = pattern[at] if at < len(pattern) else ""
        if wild == "*":
            latest = (at, here, len(ends))
            ends.append((here, here))
            at += 1
        elif here < len(name) and (wild == "?" or (wild and _same(wild, name[here]))):
            if wild == "?":
                ends.append((here, here + 1))
            at, here = at + 1, here + 1
        elif latest is not None and latest[1] < len(name):
            star, end, count = latest
            latest = (star, end + 1, count)
            ends[count:] = [(ends[count][0], end + 1)]
            at, here = star + 1, end + 1
        else:
            return None
    return tuple(name[start:end] for start, end in ends)


def _same(one: str, other: str) -> bool:
    return one == other or one.casefold() == other.casefold()


def fill(role: str, parts: Sequence[str]) -> str:
    """Return the role's name with the parts in their places."""
    return _PLACE.sub(lambda place: parts[int(place[1]) - 1], role)
