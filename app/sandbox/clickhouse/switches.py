"""What a test has asked the server to do wrong: rules that statements and connections run into.

A rule holds until it has acted `times` times or is taken back. The first rules act first; all that
fit a statement act on it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec

_Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
_Count = Annotated[int, msgspec.Meta(ge=1)]
_Code = Annotated[int, msgspec.Meta(ge=1, le=0x7FFFFFFF)]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="act"):
    """`times`: how often it acts, None: until it is taken back."""

    times: _Count | None = None


class OnStatement(Rule, frozen=True, kw_only=True):
    """`matching`: a regular expression that is found in the statement; `user`: who sends it."""

    matching: str = ""
    user: str | None = None

    def fits(self, sql: str, user: str) -> bool:
        if self.user is not None and self.user != user:
            return False
        return re.search(self.matching, sql, re.IGNORECASE | re.DOTALL) is not None


class Disturbance(OnStatement, frozen=True, kw_only=True):
    """`when`: in the place of the statement's effect, or after it and before the answer."""

    when: Literal["before", "after"] = "before"


class Slow(Disturbance, frozen=True, kw_only=True, tag="slow"):
    """Wait."""

    seconds: _Seconds


class Fail(Disturbance, frozen=True, kw_only=True, tag="fail"):
    """Answer with an error of ClickHouse's."""

    code: _Code
    message: str = "an error that a test has asked for"


class Break(Disturbance, frozen=True, kw_only=True, tag="break"):
    """Close the connection without a word."""


class ReadOnly(OnStatement, frozen=True, kw_only=True, tag="read_only"):
    """Answer access statements as a storage that takes none: 495."""


class Stop(OnStatement, frozen=True, kw_only=True, tag="stop"):
    """Do a statement about several entities for the first `after` of them, then answer `code`."""

    after: _Count = 1
    code: _Code = 999
    message: str = "the storage of access entities was lost"


class Refuse(Rule, frozen=True, kw_only=True, tag="refuse"):
    """Close new connections as soon as they are there."""


class Lag(Rule, frozen=True, kw_only=True, tag="lag"):
    """Follow what other nodes do to a replicated access storage this much later."""

    seconds: _Seconds


AnyRule = Slow | Fail | Break | ReadOnly | Stop | Refuse | Lag
_S = TypeVar("_S", bound=OnStatement)


def parse_rule(text: bytes) -> AnyRule:
    """Return the rule. Raises ValueError, which says what is wrong and where."""
    rule: AnyRule = msgspec.json.decode(text, type=AnyRule)  # its errors are ValueErrors
    if isinstance(rule, OnStatement):
        try:
            re.compile(rule.matching)
        except re.error as error:
            raise ValueError(f"`matching` is no regular expression: {error}") from None
    return rule


class Switches:
    """The rules that hold now. Used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: dict[int, AnyRule] = {}
        self._left: dict[int, int] = {}  # how often a rule still acts, where that is limited
        self._last = 0

    def add(self, rule: AnyRule) -> int:
        """Let a rule hold from here on; return its number."""
        with self._lock:
            self._last += 1
            self._rules[self._last] = rule
            if rule.times is not None:
                self._left[self._last] = rule.times
            return self._last

    def remove(self, number: int) -> bool:
        """Take a rule back; tell whether it was there."""
        with self._lock:
            self._left.pop(number, None)
            return self._rules.pop(number, None) is not None

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._left.clear()

    def listed(self) -> list[dict[str, object]]:
        """Return the rules, each with its number and how often it still acts."""
        with self._lock:
            return [
                msgspec.to_builtins(rule) | {"id": number, "times": self._left.get(number)}
                for number, rule in self._rules.items()
            ]

    def refuses(self) -> bool:
        """Tell whether a connection that has just come is to be closed."""
        return bool(self._take(lambda rule: isinstance(rule, Refuse)))

    def lag_s(self, usual_s: float) -> float:
        """Return how late this node learns of what others did: `usual_s` where no rule says."""
        with self._lock:
            lags = [rule.seconds for rule in self._rules.values() if isinstance(rule, Lag)]
        return max(lags, default=usual_s)

    def take(self, kind: type[_S], sql: str, user: str) -> list[_S]:
        """Return the rules of a kind that a statement runs into: each has acted once more."""
        found = self._take(lambda rule: isinstance(rule, kind) and rule.fits(sql, user))
        return [rule for rule in found if isinstance(rule, kind)]

    def _take(self, fits: Callable[[AnyRule], bool]) -> list[AnyRule]:
        if not self._rules:  # which is how a server spends its days
            return []
        with self._lock:
            found = {number: rule for number, rule in self._rules.items() if fits(rule)}
            for number in found.keys() & self._left.keys():
                self._left[number] -= 1
                if not self._left[number]:
                    del self._rules[number], self._left[number]
            return list(found.values())
