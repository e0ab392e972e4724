"""What the ledger keeps besides events: recorded in Redis, written to ClickHouse by its lane.

A fact is recorded before whatever it is about is acknowledged, so a crash loses none. Each has an
id that follows from what it is about: recorded twice, it is one row. Times are ms since 1970.

None of them holds a secret; statements and errors come masked
(`workers.access.statements.masked`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Literal

import msgspec

from app.config.ledger import LedgerSettings
from app.directory.keys import Keys
from app.directory.link import Link

_encode = msgspec.json.Encoder().encode


class Statement(msgspec.Struct, frozen=True, kw_only=True, tag="statement"):
    """One statement on a target. `id`: its query_id there.

    Recorded as "sent" just before it goes out, then again with what became of it: a row that stays
    "sent" is a statement whose sender died, and of which nobody knows; "unsent" never went out,
    since one before it was refused. `seqs`: the events behind
    it, none for a resync. `users`, `resources`: ClickHouse names and resource ids that it is about.
    `version` grows with each record of the same id; the highest counts.
    """

    id: str
    version: int
    target: str
    epoch: int
    seqs: tuple[int, ...]
    requests: tuple[str, ...]
    users: tuple[str, ...]
    resources: tuple[str, ...]
    roles: tuple[str, ...]
    action: str
    text: str
    at_ms: int
    duration_ms: float = 0.0
    result: Literal["sent", "unsent", "done", "refused", "unanswered"] = "sent"
    code: int | None = None
    error: str = ""


class Access(msgspec.Struct, frozen=True, kw_only=True, tag="access"):
    """What a user was seen to hold on a target after a change, whole: not a difference.

    `id`: `TARGET/EPOCH/AT_MS/NUMBER`; `resource`: "" for a user that no resource is behind.
    `roles`: seen there, without the marker role; `explained`: those that the directory gives, by
    groups or as default roles. `state`: "active", "locked", "gone".
    """

    id: str
    target: str
    user: str
    resource: str
    seq: int
    state: Literal["active", "locked", "gone"]
    roles: tuple[str, ...]
    explained: tuple[str, ...]
    at_ms: int

    @property
    def digest(self) -> str:
        """What tells this from what was told of the same user before."""
        seen = _encode([self.resource, self.state, self.roles, self.explained])
        return hashlib.sha256(seen).hexdigest()[:16]


class Receipt(msgspec.Struct, frozen=True, kw_only=True, tag="receipt"):
    """Proof that somebody's access is gone. `id`: `TARGET/RESOURCE/SEQ`.

    `asked_ms`: when the event was committed; `at_ms`: when every one of `nodes` had been seen
    without the access.
    """

    id: str
    target: str
    user: str
    resource: str
    seq: int
    asked_ms: int
    at_ms: int
    nodes: tuple[str, ...]


class Drift(msgspec.Struct, frozen=True, kw_only=True, tag="drift"):
    """Something on a target that others have changed.

    `id`: `TARGET/KIND/NAME/AT_MS`. `kind`, `expected`, `actual` as `drift check` tells them.
    """

    id: str
    target: str
    kind_of_drift: str
    name: str
    expected: str
    actual: str
    repaired: bool
    at_ms: int


class AdminAction(msgspec.Struct, frozen=True, kw_only=True, tag="admin_action"):
    """What an operator did. `id`: any that is made once per action (uuid4).

    `action`: `token.created`, `letter.replayed`, `lane.confirmed` …: noun.participle. `actor`: who,
    as the machine knows them. `subject`: what it was done to. `detail`: JSON.
    """

    id: str
    action: str
    actor: str
    subject: str
    detail: str
    at_ms: int


ADOPTION_KEPT = "adoption.kept"


def adoption(target: str, user: str, entity: str, record: str, at_ms: int) -> AdminAction:
    """Return what the ledger keeps of a user that is about to be adopted: `record`, JSON, says what
    it was, and gives it back after a loss of Redis. `entity`: the user's id there.
    """
    return AdminAction(
        id=f"{target}/{user}/{entity}",
        action=ADOPTION_KEPT,
        actor="worker",
        subject=user,
        detail=_encode({"target": target, "record": record}).decode(),
        at_ms=at_ms,
    )


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, tag="dead_letter"):
    """What became of a dead letter. `id`: `LETTER_ID/CHANGE/ATTEMPTS/AT_MS`."""

    id: str
    letter: str
    target: str
    change: Literal["parked", "resolved", "discarded"]
    resource: str
    name: str
    seq_first: int
    seq_last: int
    code: int | None
    error: str
    attempts: int
    revocation: bool
    at_ms: int


Fact = Statement | Access | Receipt | Drift | AdminAction | DeadLetter

_decode = msgspec.json.Decoder(Fact).decode
FACTS_PER_CALL = 500


class Facts:
    """Where facts are recorded. Without a ledger in the configuration nothing is kept."""

    def __init__(self, link: Link, ledger: LedgerSettings | None) -> None:
        self._link = link
        self._bound = ledger.max_backlog if ledger else 0

    @property
    def are_kept(self) -> bool:
        """Whether there is a ledger: what is made only to be recorded can be spared without."""
        return self._bound > 0

    async def record(self, tenant: str, facts: Sequence[Fact]) -> None:
        """Have `facts` written to the ledger. When this returns, they are on Redis's disk.

        While the ledger is down `[ledger] max_backlog` facts of a tenant wait in Redis at most.
        What does not fit any more is counted instead of kept, and the ledger gets a row that says
        how many are missing. Raises DirectoryUnavailable.
        """
        if not self._bound:
            return
        for start in range(0, len(facts), FACTS_PER_CALL):
            part = self.arguments(facts[start : start + FACTS_PER_CALL])
            await self._link.scripts.run("record", Keys(tenant).seq, *part)

    def arguments(self, facts: Sequence[Fact]) -> list[bytes | str | int]:
        """Return `facts`, FACTS_PER_CALL at most, as a script takes them that keeps them beside
        what they are about.
        """
        if not (self._bound and facts):
            return []
        return [self._bound, *(text for fact in facts for text in _texts(fact))]

    async def told(self, tenant: str, target: str, users: Collection[str]) -> dict[str, str]:
        """Return the digest of what was last told of each user's access; those told to be gone, and
        those of whom nothing was told, are left out.
        """
        if not (self._bound and users):
            return {}
        names = list(users)
        fields = [_field(target, name) for name in names]
        found = await self._link.call(self._link.redis.hmget(Keys(tenant).told, fields))  # type: ignore[arg-type]
        return {n: raw.decode() for n, raw in zip(names, found, strict=True) if raw}


def _field(target: str, user: str) -> str:
    return f"{target}/{user}"


def _texts(fact: Fact) -> tuple[bytes, str, str]:
    """Return a fact as the script takes it: with what is remembered of it."""
    if not isinstance(fact, Access):
        return _encode(fact), "", ""
    remembered = "" if fact.state == "gone" else fact.digest
    return _encode(fact), _field(fact.target, fact.user), remembered


def parse_fact(raw: bytes) -> Fact:
    fact: Fact = _decode(raw)
    return fact
