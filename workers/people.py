"""Everybody whom one plan has to know, gathered from the directory and the lane."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.directory.holds import Held, Holds
from app.directory.lanes import STRAY
from app.directory.subjects import Subject, Subjects
from app.errors import InvalidValue
from workers.access.desired import Rules, identity
from workers.access.model import Actual, Refusal, Wanted

_OLD = "\n"  # between a resource's id and an old name of its; no id can hold it


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """`want`: with no `previous` yet, which only the target can tell.

    `candidates`: the names under which it may be on the target: the one that was acknowledged, then
    those that a batch without an acknowledgement was about to make.
    """

    want: Wanted
    applied: str | None
    candidates: tuple[str, ...]

    def wanted(self, actual: Actual) -> list[Wanted]:
        """Return what is wanted, now that it is known what exists.

        Of several users that are its own one becomes what is wanted, the others go. A name that was
        only intended counts if a managed user has it: ours was perhaps never made.
        """
        existing = [
            name
            for name in self.candidates
            if (state := actual.users.get(name)) and (state.managed or name == self.applied)
        ]
        if self.want.name in existing:
            existing.remove(self.want.name)
            existing.insert(0, self.want.name)
        previous = existing[0] if existing else self.applied
        return [replace(self.want, previous=previous), *(self._old(name) for name in existing[1:])]

    def _old(self, name: str) -> Wanted:
        alias = f"{self.want.resource_id}{_OLD}{name}"
        return Wanted(resource_id=alias, name=None, previous=name, active=False)


def resource_behind(resource_id: str) -> str:
    """Return the id of the resource, also of one of its old names in a plan."""
    return resource_id.partition(_OLD)[0]


def is_stray(resource_id: str) -> bool:
    return resource_id.startswith(STRAY)


@dataclass(frozen=True, slots=True)
class People:
    """By resource id. `refusals`: those who can't have a name. `intents`: names still open. `held`:
    the holds that were heeded.
    """

    persons: Mapping[str, Person]
    refusals: tuple[Refusal, ...]
    intents: Mapping[str, str]
    held: Held

    def wanted(self, actual: Actual) -> list[Wanted]:
        return [want for person in self.persons.values() for want in person.wanted(actual)]

    def told(self, owners: Mapping[str, str]) -> People:
        """Return the same with these names as candidates of their owners only, by resource id."""
        persons = {}
        for i, person in self.persons.items():
            own = [name for name in person.candidates if owners.get(name, i) == i]
            if (name := person.want.name) is not None and owners.get(name) == i:
                own = [name, *own]
            persons[i] = replace(person, candidates=tuple(dict.fromkeys(own)))
        return replace(self, persons=persons)

    def with_applied(self, digests: Mapping[str, str]) -> People:
        """Return the same after these secrets were set on the target: digests by resource id."""
        persons = {
            i: replace(person, want=replace(person.want, applied_digest=digests[i]))
            if i in digests
            else person
            for i, person in self.persons.items()
        }
        return replace(self, persons=persons)

    def with_purges(self, due_ms: Mapping[str, int], now_ms: int) -> People:
        """Return the same with when these deleted resources are purged (ms since 1970), by id."""
        persons = {
            i: replace(
                person,
                want=replace(
                    person.want,
                    is_purged=due_ms[i] <= now_ms,
                    due=None if due_ms[i] <= now_ms else due_ms[i] // 1000 + 1,
                ),
            )
            if i in due_ms
            else person
            for i, person in self.persons.items()
        }
        return replace(self, persons=persons)

    def without(self, ids: Collection[str]) -> People:
        """Return the same without these, by resource id."""
        persons = {i: person for i, person in self.persons.items() if i not in ids}
        return replace(self, persons=persons)

    def staying(self) -> People:
        """Return the same, where everybody goes on under the name that is acknowledged."""
        persons = {
            i: replace(person, want=replace(person.want, name=person.applied))
            for i, person in self.persons.items()
        }
        return replace(self, persons=persons)

    def roles(self) -> frozenset[str]:
        """Return every role that somebody is to have."""
        return frozenset().union(*(person.want.roles for person in self.persons.values()))

    def made(self) -> frozenset[str]:
        """Return the roles among them that are to be made where they are missing."""
        return frozenset().union(*(person.want.made for person in self.persons.values()))

    def names(self) -> set[str]:
        """Return every name that the target has to be asked about."""
        named = {p.want.name for p in self.persons.values() if p.want.name is not None}
        return named.union(*(person.candidates for person in self.persons.values()))


async def gather(
    subjects: Subjects,
    rules: Rules,
    ids: Iterable[str],
    strays: Iterable[str] = (),
    *,
    holds: Holds,
    now_s: float = 0,
) -> People:
    """Return these users, and everybody whose name on the target one of them wants or leaves.

    `strays`: names of managed users that no resource is behind; they are to be locked. `holds`:
    those who count as inactive since an operator says so. `now_s`: seconds since 1970, by which
    validity has ended or not.

    Users are told by their names there. So whoever has, had or gets such a name is part of the same
    plan, in which nobody can come into the user of somebody else.
    """
    asked = list(dict.fromkeys(ids))
    held, intents, read = await asyncio.gather(
        holds.all(), subjects.intents(), subjects.read(asked)
    )
    intended: dict[str, list[str]] = {}
    for name, resource_id in intents.items():
        intended.setdefault(resource_id, []).append(name)
    read += await subjects.read([i for i in intended if i not in asked])
    persons: dict[str, Person] = {}
    refusals: list[Refusal] = []
    while read:
        fresh = []
        names: Mapping[str, str] = {}
        if rules.role_map.reads_names:
            names = await subjects.likes({group for subject in read for group in subject.groups})
        for subject in read:
            person, refusal = _person(subject, rules, names, intended.get(subject.id, ()), now_s)
            if person.want.active and held.covers(subject.id, _called(subject)):
                person = replace(person, want=replace(person.want, active=False))
            persons[subject.id] = person
            fresh.append(person)
            refusals += [refusal] if refusal else []
        sharing = await _sharing(subjects, rules, fresh)
        read = await subjects.read([i for i in sharing if i not in persons])
    wanted = {person.want.name for person in persons.values()}
    for name in strays:
        if name not in wanted and name not in intents:
            stray = Wanted(resource_id=STRAY + name, name=name, active=False)
            persons[stray.resource_id] = Person(want=stray, applied=name, candidates=(name,))
    known = {i: person for i, person in persons.items() if person.want.name or person.candidates}
    # A name that is acknowledged for one and only intended for another is still the first one's:
    # nobody knows whether its user was replaced before the crash.
    applied = {person.applied: i for i, person in known.items() if person.applied is not None}
    return People(known, tuple(refusals), intents, held).told(applied)


def _person(
    subject: Subject,
    rules: Rules,
    names: Mapping[str, str],
    intended: Sequence[str],
    now_s: float,
) -> tuple[Person, Refusal | None]:
    refusal = None
    try:
        want = rules.wanted(
            subject.id,
            subject.document,
            subject.groups,
            subject.links,
            previous=None,
            names=names,
            kind=subject.kind,
            now_s=now_s,
            secret=subject.secret,
            applied_digest=subject.applied_digest,
        )
    except InvalidValue as error:
        # The file was changed since this name was taken. Whoever has no name gets no access.
        want = Wanted(resource_id=subject.id, name=subject.applied, active=False)
        refusal = Refusal(subject.id, _called(subject), None, error.detail)
    applied = [] if subject.applied is None else [subject.applied]
    candidates = tuple(dict.fromkeys([*applied, *intended]))
    return Person(want=want, applied=subject.applied, candidates=candidates), refusal


def _called(subject: Subject) -> str:
    return identity(subject.kind, subject.document).name if subject.document else ""


async def _sharing(subjects: Subjects, rules: Rules, persons: Sequence[Person]) -> Iterable[str]:
    """Return who has on the target what one of these wants, and who wants what one of these has."""
    wanted = [p.want.name for p in persons if p.want.name and p.want.name not in p.candidates]
    left = [name for p in persons for name in p.candidates if name != p.want.name]
    user_names = [found for name in left if (found := rules.user_name_behind(name)) is not None]
    holders, owners = await asyncio.gather(subjects.holders(wanted), subjects.named(user_names))
    return dict.fromkeys([*holders.values(), *sorted(owners)])
