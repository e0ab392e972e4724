"""Dead letters: what could not be brought onto a target, as a value; pure."""

from __future__ import annotations

from dataclasses import dataclass

from app.directory.lanes import ROLE, Letter
from workers.batch import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a resource is not as it should be. `name`: on ClickHouse; `code`: ClickHouse's, if any.

    `revocation`: it still has access that it should not have. `step`: the kind of step that the
    target refused, and `statement` what was sent, secrets masked; "" where nothing was.
    """

    resource_id: str
    name: str
    code: int | None
    error: str
    revocation: bool = False
    step: str = ""
    statement: str = ""

    def joined(self, other: Fault) -> Fault:
        """Return both as one: a resource has one letter on a lane."""
        return Fault(
            resource_id=self.resource_id,
            name=self.name,
            code=self.code if self.code is not None else other.code,
            error=self.error if other.error in self.error else f"{self.error}; {other.error}",
            revocation=self.revocation or other.revocation,
            step=self.step or other.step,
            statement=self.statement or other.statement,
        )


def park(
    lane: str, fault: Fault, span: Span | None, before: Letter | None, *, cursor: int, now_ms: int
) -> Letter:
    """Return the letter of `fault`; `before` is the one that the resource has already.

    `span`: the events of this batch that touch it, None if none did; `cursor`: the lane's.
    """
    first = before.seq_first if before else span.first if span else cursor
    last = span.last if span else before.seq_last if before else cursor
    return Letter(
        id=f"{lane}/{fault.resource_id}",
        resource_type="Role" if fault.resource_id.startswith(ROLE) else "User",
        resource_id=fault.resource_id,
        name=fault.name,
        seq_first=first,
        seq_last=last,
        code=fault.code,
        error=fault.error,
        attempts=1 + (before.attempts if before else 0),
        first_ms=before.first_ms if before else now_ms,
        last_ms=now_ms,
        revocation=fault.revocation,
        statement=fault.statement,
    )
