"""A tenant's directory: commits and reads.

A write becomes true in one Lua call, so a process that dies half-way leaves the whole change or
none of it. What goes before that call, where many members change, nobody sees (`staging.py`).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from app.directory.keys import KINDS, Kind
from app.directory.link import Link
from app.directory.membership import Members
from app.directory.reader import Reader
from app.directory.record import Stored, encode
from app.directory.staging import LARGE, PATIENCE_S, WAIT_S, Stage, StageLost, settle, too_busy
from app.errors import DirectoryUnavailable, InvalidValue, NotFound, TooMany, Uniqueness
from app.ids import new_id
from app.scim.members import MemberChange
from app.scim.text import fold

_strings = msgspec.json.Decoder(list[str]).decode
NO_MEMBERS = MemberChange(replace=None, add=(), remove=())
NO_SECRET = "-"  # noqa: S105 - as a secret: there is none from now on
_TRIES = 20  # large changes of a group whose members others change
_HOLD = 3  # tries after which the others wait


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked: kept in the event, so that every statement can be explained (promise 9).

    `address`, `agent`: of the client, for the ledger. `trace`: the `traceparent` of the request's
    span, "" where it is not traced.
    """

    request_id: str
    token_id: str
    digest: str
    address: str = ""
    agent: str = ""
    trace: str = ""


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is durable. `seq` None: it was already so and nothing was written.

    `wake`: the targets whose lane was clean before; the others have been woken already.
    """

    id: str
    seq: int | None
    version: int
    created_ms: int
    modified_ms: int
    wake: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgedOut:
    """`wake` as in Committed."""

    count: int
    wake: tuple[str, ...]


class Stale(Exception):
    """The document changed since it was read: read again and decide anew."""


class OwnWrite(Uniqueness):
    """The same request has made `id` already, `age_ms` ago, and was not answered yet."""

    def __init__(self, id_: str, age_ms: int) -> None:
        super().__init__("the same request has created this resource already")
        self.id, self.age_ms = id_, age_ms


class _Moved(Exception):
    """The members changed since they were read, or the stage is gone: compute the change anew."""


class _Large(Exception):
    """So many members may change that it has to be computed before."""


def _refusal(kind: Kind, code: bytes, *told: Any) -> Exception:
    """Return what the script `write` says no with."""
    match code:
        case b"taken" if told[1] >= 0:
            return OwnWrite(told[0].decode(), told[1])
        case b"taken":
            return Uniqueness(f"{KINDS[kind].name} is already taken by another resource")
        case b"circle":
            return InvalidValue(f"members: {told[0].decode()} is this group, or holds it")
        case b"deep":
            return TooMany("members: too many groups lie above this one")
        case b"stale":
            return Stale()
        case b"gone":
            return NotFound(f"no such {kind}")
        case b"moved":
            return _Moved()
        case b"large":
            return _Large()
        case _:
            return AssertionError(f"the script write has no reply {code!r}")


def _members_json(change: MemberChange) -> bytes:
    replace = False if change.replace is None else change.replace
    return encode({"replace": replace, "add": change.add, "remove": change.remove})


_NOBODY = _members_json(NO_MEMBERS)


def _difference(
    change: MemberChange, held: Members
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return who is a member after the change, who comes, and who leaves."""
    after = change.applied_to(held.scores)
    kept = frozenset(after)
    added = tuple(i for i in after if i not in held.scores)
    return after, added, tuple(i for i in held.scores if i not in kept)


@dataclass(frozen=True, slots=True)
class _Staged:
    """Who comes and who leaves with a stage: JSON arrays, encoded once for however many."""

    token: str
    added: bytes
    removed: bytes


class _Commit(msgspec.Struct, frozen=True, kw_only=True):
    """What one call of the script `write` is given, but for the members."""

    kind: Kind
    id: str
    expect: str
    name: str
    document: dict[str, Any] | None
    role_keys: Sequence[str]
    origin: Origin
    secret: str | None
    version: str = ""
    unanswered: bool = False


class Directory(Reader):
    """One tenant's resources. `targets`: the lanes that each change marks dirty. `ledger`: whether
    events say what the ledger keeps: who asked from where, the document before and after.

    `secret`, in every write: what a password was turned into, `NO_SECRET` to take it away, None to
    leave it alone. It is kept apart from the document and is in no event.
    """

    def __init__(
        self, link: Link, tenant: str, targets: Sequence[str], *, ledger: bool = False
    ) -> None:
        super().__init__(link, tenant)
        self._ledger = ledger
        self._targets = encode(list(targets))

    def create(
        self,
        kind: Kind,
        document: dict[str, Any],
        origin: Origin,
        *,
        members: Sequence[str] = (),
        role_keys: Sequence[str] = (),
        secret: str | None = None,
        resource_id: str | None = None,
        unanswered: bool = False,
    ) -> Coroutine[Any, Any, Committed]:
        """Commit a new resource, under an id of its own unless one is given.

        `unanswered`: note that the client has no answer yet, until `app.directory.unanswered` is
        told otherwise; a repeat of the request is an OwnWrite meanwhile.

        Raises Uniqueness, DirectoryUnavailable; InvalidValue if a group would hold itself.
        """
        commit = _Commit(
            kind=kind,
            id=resource_id or new_id(),
            expect="new",
            name=document[KINDS[kind].name],
            document=document,
            role_keys=role_keys,
            origin=origin,
            secret=secret,
            unanswered=unanswered,
        )
        change = MemberChange(add=tuple(members)) if members else NO_MEMBERS
        return self._write(commit, change)

    async def update(
        self,
        kind: Kind,
        before: Stored,
        document: dict[str, Any],
        origin: Origin,
        *,
        members: MemberChange = NO_MEMBERS,
        role_keys: Sequence[str] = (),
        secret: str | None = None,
        exactly: bool = False,
    ) -> Committed:
        """Commit what `before` becomes. Members change by difference, whoever else changes them.

        `exactly`: only if `before` is still the resource's version, members included.

        Raises Stale if the document changed since `before` was read, NotFound, Uniqueness;
        InvalidValue if a group would come to lie below itself; Unavailable if other changes of many
        members do not end.
        """
        changed = None if document == before.document else document
        if changed is None and members.is_empty and not role_keys and secret is None:
            return Committed(
                id=before.id,
                seq=None,
                version=before.version,
                created_ms=before.created_ms,
                modified_ms=before.modified_ms,
            )
        commit = _Commit(
            kind=kind,
            id=before.id,
            expect=str(before.document_version),
            name=document[KINDS[kind].name],
            document=changed,
            role_keys=role_keys,
            origin=origin,
            secret=secret,
            version=str(before.version) if exactly else "",
        )
        return await self._write(commit, members)

    async def _write(self, commit: _Commit, change: MemberChange) -> Committed:
        named = len(change.replace or ()) + len(change.add) + len(change.remove)
        if named <= LARGE:
            try:
                return await self._commit(commit, change)
            except _Large:
                pass
        stage: Stage | None = None
        try:
            for attempt in range(_TRIES):
                held = Members(None, {})
                if commit.expect != "new":
                    held = await self.members_of(commit.id)
                after, added, removed = await asyncio.to_thread(_difference, change, held)
                seen = "" if held.version is None else str(held.version)
                try:
                    if stage is None and len(added) + len(removed) <= LARGE:
                        difference = MemberChange(add=added, remove=removed)
                        return await self._commit(commit, difference, seen)
                    if stage is None:
                        stage = Stage(self._link, self._keys, commit.id)
                        await stage.begin()
                        continue  # what was read may be older than what `begin` cleaned up
                    await stage.bring_to(after, held.scores, hold=attempt >= _HOLD)
                    staged = _Staged(stage.token, encode(added), encode(removed))
                    return await self._commit(commit, NO_MEMBERS, seen, staged)
                except StageLost:
                    stage = None
                except _Moved:
                    continue
            raise too_busy()
        finally:
            if stage is not None:
                await stage.end()

    def _asker(self, origin: Origin) -> bytes:
        """The salt goes into the ledger's digest of the event's personal data."""
        if not self._ledger:
            return b""
        asker = {"ip": origin.address, "agent": origin.agent, "salt": secrets.token_hex(16)}
        return encode(asker)

    async def _commit(
        self,
        commit: _Commit,
        members: MemberChange,
        seen: str = "",
        staged: _Staged | None = None,
    ) -> Committed:
        document, origin = commit.document, commit.origin
        arguments = (
            commit.kind,
            commit.id,
            commit.expect,
            b"" if document is None else encode(document),
            fold(commit.name),
            "" if document is None else document.get("externalId", ""),
            _NOBODY if members is NO_MEMBERS else _members_json(members),
            commit.name,
            self._targets,
            encode(list(commit.role_keys)) if commit.role_keys else b"[]",
            origin.request_id,
            origin.token_id,
            origin.digest,
            commit.secret or "",
            KINDS[commit.kind].name,
            commit.version,
            self._asker(origin),
            seen,
            staged.token if staged else "",
            staged.added if staged else b"",
            staged.removed if staged else b"",
            "1" if commit.unanswered else "",
            origin.trace,
        )
        reply = await self._link.scripts.run("write", self._keys.seq, *arguments)
        if reply[0] == b"held":
            reply = await self._until_free(arguments)
        changed = reply[0] == b"ok"
        if not changed and reply[0] != b"same":
            raise _refusal(commit.kind, *reply)
        number = int(reply[1])
        return Committed(
            id=commit.id,
            seq=number if changed else None,
            version=number,
            created_ms=int(reply[2]),
            modified_ms=int(reply[3]),
            wake=tuple(_strings(reply[4])) if changed and reply[4] != b"[]" else (),
        )

    async def _until_free(self, arguments: Sequence[str | bytes]) -> list[Any]:
        """Return the reply of the script `write`, once no other change of many members has to end
        first, as one had to just now.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await asyncio.sleep(WAIT_S)
                    reply: list[Any] = await self._link.scripts.run(
                        "write", self._keys.seq, *arguments
                    )
                    if reply[0] != b"held":
                        return reply
        except TimeoutError:
            raise too_busy() from None

    async def delete(
        self, kind: Kind, resource_id: str, origin: Origin, *, version: int | None = None
    ) -> Committed:
        """Remove the resource and every trace of it in other resources.

        `version`: only if it is this one, members included. Raises NotFound, Stale.
        """
        seen, removed = "", b""
        for _ in range(_TRIES):
            code, *rest = await self._link.scripts.run(
                "delete",
                self._keys.seq,
                kind,
                resource_id,
                self._targets,
                origin.request_id,
                origin.token_id,
                origin.digest,
                KINDS[kind].name,
                "" if version is None else str(version),
                self._asker(origin),
                seen,
                removed or b"[]",
                origin.trace,
            )
            if code == b"gone":
                raise NotFound(f"no such {kind}")
            if code == b"stale":
                raise Stale
            if code == b"ok":
                break
            if code == b"unsettled":
                await settle(self._link, self._keys, resource_id)
                continue
            held = await self.members_of(resource_id)
            seen, removed = str(held.version or 0), encode(list(held.scores))
        else:
            raise too_busy()
        if seen:
            with suppress(DirectoryUnavailable):  # `housekeeping` does it later
                await settle(self._link, self._keys, resource_id)
        seq, created_ms, modified_ms = (int(value) for value in rest[:3])
        return Committed(
            id=resource_id,
            seq=seq,
            version=seq,
            created_ms=created_ms,
            modified_ms=modified_ms,
            wake=tuple(_strings(rest[3])),
        )

    async def age_out(
        self, group_id: str, member_ids: Sequence[str], before_ms: int, origin: Origin
    ) -> AgedOut:
        """Take those out of a group who are no resources and have waited since before `before_ms`.

        It is an event like any other change.
        """
        count, wake = await self._link.scripts.run(
            "age_out",
            self._keys.seq,
            group_id,
            encode(list(member_ids)),
            before_ms,
            self._targets,
            origin.request_id,
            origin.token_id,
            self._asker(origin),
            KINDS["group"].name,
        )
        return AgedOut(count, tuple(_strings(wake)))
