"""`If-Match` and `If-None-Match` on single resources (RFC 7644 §3.14, RFC 9110 §13)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import PreconditionFailed

_TAG = r'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_LIST = re.compile(rf"[ \t,]*{_TAG}(?:[ \t]*,[ \t,]*{_TAG})*[ \t,]*")
_ANY = "*"

Tags = frozenset[str]


@dataclass(frozen=True, slots=True)
class Preconditions:
    """None: the header was not sent. Tags are compared weakly, since all of ours are weak.

    A header that is no list of tags names none: then `If-Match` fails, which is the safe side, and
    `If-None-Match` says nothing.
    """

    match: Tags | None = None
    none_match: Tags | None = None

    @property
    def is_empty(self) -> bool:
        return self.match is None and self.none_match is None

    def holds_none_match(self, version: int) -> bool:
        return self.none_match is None or not _names(self.none_match, version)

    def check_match(self, version: int) -> None:
        """Raise PreconditionFailed if `If-Match` names other versions only."""
        if self.match is not None and not _names(self.match, version):
            raise PreconditionFailed("the resource has another version than If-Match names")

    def check_write(self, version: int) -> None:
        """Raise PreconditionFailed unless the resource may be changed from this version."""
        self.check_match(version)
        if not self.holds_none_match(version):
            raise PreconditionFailed("the resource has a version that If-None-Match names")


NO_PRECONDITIONS = Preconditions()


def parse_preconditions(match: Sequence[str], none_match: Sequence[str]) -> Preconditions:
    """Return what the header lines ask for."""
    return Preconditions(_tags(match), _tags(none_match))


def _tags(lines: Sequence[str]) -> Tags | None:
    if not lines:
        return None
    text = ",".join(lines).strip()
    if text == _ANY:
        return frozenset({_ANY})
    return frozenset(re.findall(_TAG, text)) if _LIST.fullmatch(text) else frozenset()


def _names(tags: Tags, version: int) -> bool:
    return _ANY in tags or str(version) in tags
