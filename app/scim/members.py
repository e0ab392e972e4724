"""A change of a group's members, as a value that says nothing of the members it leaves alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Ids = dict[str, None]  # an ordered set


@dataclass(frozen=True, slots=True)
class MemberChange:
    """First `replace`, where given, is all the members; then `remove` leave; then `add` are in.

    In normal form by construction: ids are unique and keep their order, none is both added and
    removed, and with `replace` the other two are empty. So two changes that do the same to every
    group are equal, but for order.
    """

    replace: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        add, remove = dict.fromkeys(self.add), dict.fromkeys(self.remove)
        if self.replace is None:
            object.__setattr__(self, "add", tuple(add))
            object.__setattr__(self, "remove", tuple(i for i in remove if i not in add))
            return
        kept = dict.fromkeys(i for i in self.replace if i not in remove)
        object.__setattr__(self, "replace", tuple(kept | add))
        object.__setattr__(self, "add", ())
        object.__setattr__(self, "remove", ())

    @property
    def is_empty(self) -> bool:
        """Whether it leaves every group as it is."""
        return self.replace is None and not self.add and not self.remove

    def then(self, later: MemberChange) -> MemberChange:
        """Return the one change that does what `self` and after it `later` do."""
        log = MemberLog()
        log.record(self)
        log.record(later)
        return log.change()

    def applied_to(self, members: Iterable[str]) -> tuple[str, ...]:
        """Return the members of a group that had `members`; those who stay keep their order."""
        removed = frozenset(self.remove)
        base = members if self.replace is None else self.replace
        return tuple(dict.fromkeys(i for i in base if i not in removed) | dict.fromkeys(self.add))


class MemberLog:
    """Composes a sequence of changes in time linear in the ids they name: a PATCH may hold 1,000.

    `touched` tells whether anything was recorded, even a change that is empty.
    """

    def __init__(self) -> None:
        self._replace: Ids | None = None
        self._add: Ids = {}
        self._remove: Ids = {}
        self.touched = False

    def record(self, change: MemberChange) -> None:
        self.touched = True
        if change.replace is not None:
            self._replace, self._add, self._remove = dict.fromkeys(change.replace), {}, {}
            return
        present = self._add if self._replace is None else self._replace
        for member in change.remove:
            present.pop(member, None)
            if self._replace is None:
                self._remove[member] = None
        for member in change.add:
            self._remove.pop(member, None)
            present[member] = None

    def change(self) -> MemberChange:
        """Return the one change that does what all the recorded ones do in their order."""
        replace = None if self._replace is None else tuple(self._replace)
        return MemberChange(replace, tuple(self._add), tuple(self._remove))
