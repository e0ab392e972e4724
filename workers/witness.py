"""What a lane tells the ledger: each statement, and what users were seen to hold afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from app.clock import Clock
from app.directory.facts import FACTS_PER_CALL, Access, DeadLetter, Fact, Facts, adoption
from app.directory.facts import Statement as Told
from app.directory.lanes import Letter
from app.errors import StatementRefused, TargetError
from workers.access.model import Actual, Adopted, Door, UserState
from workers.access.statements import Statement, masked
from workers.access.steps import ROLE_STEPS, Rename
from workers.batch import Span
from workers.clickhouse.pool import new_query_id
from workers.people import People, resource_behind

_MOST_SEQS = 400  # of one statement; it may be about 200 users
_SHOWN = 4000  # characters of a statement that the ledger keeps

_STRAY = "stray:"
_encode = msgspec.json.encode


@dataclass(slots=True)
class Witness:
    """Of one batch. `spans`: the events behind each resource of it; `requests`: theirs.

    What it hears of is kept until `flush`, but for the announcement of a statement, which is on
    Redis's disk before the statement goes out. Without a ledger it keeps nothing.
    """

    facts: Facts
    tenant: str
    target: str
    epoch: int
    spans: Mapping[str, Span | None]
    requests: tuple[str, ...]
    cursor: int
    clock: Clock
    _owners: dict[str, str] = field(default_factory=dict)
    _told_before: dict[str, str] = field(default_factory=dict)
    _looks: int = 0
    _announced: dict[str, Told] = field(default_factory=dict)
    _sent: dict[str, tuple[Told, float]] = field(default_factory=dict)
    _heard: list[Fact] = field(default_factory=list)

    async def meet(self, people: People) -> None:
        """Learn who is behind which name on the target, and what was told of them last."""
        # A name that one leaves and another gets is the other's.
        for resource_id, person in people.persons.items():
            self._owners |= dict.fromkeys(person.candidates, resource_id)
        for resource_id, person in people.persons.items():
            if person.want.name is not None:
                self._owners[person.want.name] = resource_id
        names = people.names() | {p.applied for p in people.persons.values() if p.applied}
        self._told_before |= await self.facts.told(self.tenant, self.target, names)

    async def announce(self, statements: Sequence[Statement]) -> None:
        """Hear of statements that are about to go out, one after the other: one call for all.

        What is never sent, since one before it was refused, is told as `unsent` with the rest.
        """
        if self.facts.are_kept:
            for statement in statements:
                told = self._told(statement)
                self._announced[statement.sql] = told
                self._heard.append(told)
            await self._record()

    async def sending(self, statement: Statement) -> Statement:
        """Return `statement` with the id by which the ledger knows it. Call it before sending."""
        if not self.facts.are_kept:
            return statement
        told = self._announced.pop(statement.sql, None)
        if told is None:
            told = self._told(statement)
            self._heard.append(told)
            await self._record()
        self._sent[told.id] = told, self.clock.monotonic()
        return replace(statement, query_id=told.id)

    def answered(self, statement: Statement, error: TargetError | None = None) -> None:
        """Hear what became of it. `error` None: it was carried out."""
        if statement.query_id not in self._sent:
            return
        told, started = self._sent.pop(statement.query_id)
        result: Literal["done", "refused", "unanswered"] = "done"
        if error is not None:
            result = "refused" if isinstance(error, StatementRefused) else "unanswered"
        self._heard.append(
            msgspec.structs.replace(
                told,
                version=told.version + 1,
                duration_ms=round((self.clock.monotonic() - started) * 1000, 3),
                result=result,
                code=error.code if error is not None else None,
                error=masked(str(error))[:1000] if error is not None else "",
            )
        )

    def saw(self, people: People, actual: Actual) -> None:
        """Look at what users hold now, and keep it where the ledger was told something else."""
        if not self.facts.are_kept:
            return
        for resource_id, person in people.persons.items():
            for name in dict.fromkeys((*person.candidates, person.want.name, person.applied)):
                if name is None or self._owners.get(name, resource_id) != resource_id:
                    continue
                explains = person.want.active and name == person.want.name
                explained = person.want.roles if explains else frozenset()
                seen = self._access(name, resource_id, actual.users.get(name), explained)
                if seen.state == "gone" and name not in self._told_before:
                    continue
                if self._told_before.get(name) != seen.digest:
                    self._heard.append(seen)
                    self._told_before[name] = seen.digest

    def parked(self, letters: Mapping[str, Letter | None], before: Mapping[str, Letter]) -> None:
        """Hear of dead letters: new ones, and, None, those that are resolved."""
        for resource_id, letter in letters.items():
            if letter is not None:
                self._heard.append(dead_letter(letter, self.target, "parked", letter.last_ms))
            elif resource_id in before:
                now_ms = self.clock.now_ms()
                self._heard.append(
                    dead_letter(before[resource_id], self.target, "resolved", now_ms)
                )

    async def keep_adopted(self, records: Mapping[str, Adopted]) -> None:
        """Have the ledger keep what users are before they are adopted, by name; on Redis's disk
        before the first statement about them.
        """
        self._heard += (
            adoption(self.target, name, one.entity, _encode(one).decode(), self.clock.now_ms())
            for name, one in records.items()
            if self.facts.are_kept
        )
        await self._record()

    async def flush(self) -> None:
        """Have everything that was heard on Redis's disk. Raises DirectoryUnavailable."""
        self._end()
        await self._record()

    async def last_words(self) -> list[bytes | str | int]:
        """Return what was heard, for the acknowledgement to keep; what is too much for that is on
        Redis's disk by now. Raises DirectoryUnavailable.
        """
        self._end()
        if len(self._heard) > FACTS_PER_CALL:
            await self._record()
        heard, self._heard = self._heard, []
        return self.facts.arguments(heard)

    def _end(self) -> None:
        for told in self._announced.values():
            unsent = msgspec.structs.replace(told, version=told.version + 1, result="unsent")
            self._heard.append(unsent)
        self._announced.clear()

    async def _record(self) -> None:
        heard, self._heard = self._heard, []
        if heard:
            await self.facts.record(self.tenant, heard)

    def _told(self, statement: Statement) -> Told:
        step = statement.step
        is_role = isinstance(step, ROLE_STEPS)
        users = () if is_role else statement.names
        if isinstance(step, Rename):
            users = (*users, step.name)
        resources = tuple(dict.fromkeys(self._resources(users)))
        return Told(
            id=new_query_id(),
            version=1,
            target=self.target,
            epoch=self.epoch,
            seqs=self._seqs(resources) if not is_role else (),
            requests=self.requests,
            users=users,
            resources=resources,
            roles=statement.names if is_role else tuple(getattr(step, "roles", ())),
            action=type(step).__name__,
            text=masked(statement.sql[: 2 * _SHOWN])[:_SHOWN],
            at_ms=self.clock.now_ms(),
        )

    def _resources(self, names: Iterable[str]) -> Iterable[str]:
        for name in names:
            owner = self._owners.get(name, "")
            if owner and not owner.startswith(_STRAY):
                yield resource_behind(owner)

    def _seqs(self, resources: Iterable[str]) -> tuple[int, ...]:
        spans = (self.spans.get(resource) for resource in resources)
        seqs = {seq for span in spans if span for seq in (span.first, span.last)}
        return tuple(sorted(seqs)[-_MOST_SEQS:])

    def _access(
        self, name: str, resource_id: str, state: UserState | None, explained: frozenset[str]
    ) -> Access:
        resource = "" if resource_id.startswith(_STRAY) else resource_behind(resource_id)
        is_there = state is not None and state.managed
        span, at_ms = self.spans.get(resource), self.clock.now_ms()
        self._looks += 1  # one resource may leave a name and get another in one moment
        return Access(
            id=f"{self.target}/{self.epoch}/{at_ms}/{self._looks}",
            target=self.target,
            user=name,
            resource=resource,
            seq=span.last if span else self.cursor,
            state=_state(state) if is_there else "gone",
            roles=tuple(sorted(state.roles)) if state is not None and is_there else (),
            explained=tuple(sorted(explained)) if is_there else (),
            at_ms=at_ms,
        )


def _state(state: UserState | None) -> Literal["active", "locked"]:
    """A door that is ajar still lets somebody in."""
    is_open = state is not None and state.door in {Door.OPEN, Door.AJAR}
    return "active" if is_open else "locked"


def dead_letter(
    letter: Letter, target: str, change: Literal["parked", "resolved", "discarded"], at_ms: int
) -> DeadLetter:
    """Return what the ledger keeps of a letter when it is parked, resolved or discarded."""
    return DeadLetter(
        id=f"{letter.id}/{change}/{letter.attempts}/{at_ms}",
        letter=letter.id,
        target=target,
        change=change,
        resource=letter.resource_id,
        name=letter.name,
        seq_first=letter.seq_first,
        seq_last=letter.seq_last,
        code=letter.code,
        error=masked(letter.error),
        attempts=letter.attempts,
        revocation=letter.revocation,
        at_ms=at_ms,
    )
