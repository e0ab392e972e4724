"""Whether texts of the form `before` + anything + `after` can be one text, of very many tenants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form:
    """The fixed text before and after what differs from user to user, folded."""

    before: str
    after: str

    def can_meet(self, other: Form) -> bool:
        """Whether some text is of both forms."""
        before = self.before.startswith(other.before) or other.before.startswith(self.before)
        return before and (self.after.endswith(other.after) or other.after.endswith(self.after))


def first_met(forms: Mapping[T, Form]) -> Iterator[tuple[T, T]]:
    """Yield each key whose form can meet that of an earlier one, with the earliest such key.

    In about the time of a look at each: two forms can meet only in the shorter `before` and the
    shorter `after` of both, so each asks at the few such pairs that it can have part in.
    """
    befores = {form.before for form in forms.values()}
    afters = {form.after for form in forms.values()}
    keys = list(forms)
    # At each pair, the first form for which it is: not exactly so, its `before`, its `after`, both.
    earliest: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [len(keys)] * 4)
    for number, form in enumerate(forms.values()):
        found = len(keys)
        for before in _starts(form.before, befores):
            for after in _ends(form.after, afters):
                mine = (before == form.before) + 2 * (after == form.after)
                there = earliest[before, after]
                found = min(found, *(there[its] for its in _FITTING[mine]))
                there[mine] = min(there[mine], number)
        if found < len(keys):
            yield keys[number], keys[found]


# Of a pair, each half has to be exactly one's own or the other's.
_FITTING: Sequence[Sequence[int]] = [
    [its for its in range(4) if its | mine == 3] for mine in range(4)
]


def _starts(text: str, known: set[str]) -> Iterator[str]:
    return (text[:end] for end in range(len(text) + 1) if text[:end] in known)


def _ends(text: str, known: set[str]) -> Iterator[str]:
    return (text[at:] for at in range(len(text) + 1) if text[at:] in known)
