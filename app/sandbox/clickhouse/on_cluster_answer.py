"""What a client is told of a statement ON CLUSTER: a row for each host, or an error.

Rows, modes and texts are ClickHouse's (`DDLOnClusterQueryStatusSource.cpp`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.tokens import render_text

_TIMEOUT = 159
_UNFINISHED = 3  # of the statuses OK, IN_PROGRESS, QUEUED, UNFINISHED


class OutputMode(StrEnum):
    """What `distributed_ddl_output_mode` may be."""

    THROW = "throw"
    NONE = "none"
    NULL_STATUS = "null_status_on_timeout"
    NEVER_THROW = "never_throw"
    NONE_ONLY_ACTIVE = "none_only_active"
    NULL_STATUS_ONLY_ACTIVE = "null_status_on_timeout_only_active"
    THROW_ONLY_ACTIVE = "throw_only_active"

    @property
    def is_silent(self) -> bool:
        return self in {OutputMode.NONE, OutputMode.NONE_ONLY_ACTIVE}

    @property
    def waits_for_active_only(self) -> bool:
        return self.value.endswith("_only_active")

    @property
    def has_nulls(self) -> bool:
        """Whether status and error of a host that has not finished are NULL."""
        return self is not OutputMode.THROW and not self.is_silent

    @property
    def throws_on_timeout(self) -> bool:
        return self in {
            OutputMode.THROW,
            OutputMode.NONE,
            OutputMode.THROW_ONLY_ACTIVE,
            OutputMode.NONE_ONLY_ACTIVE,
        }


@dataclass(frozen=True, slots=True)
class HostRow:
    """`status`: an error's code, 0 for none; None where the host has not finished.

    `remaining`: the hosts that had not finished when it had; `active`: those at work then.
    """

    host: str
    status: int | None
    error: str
    remaining: int
    active: int


def render_answer(rows: Sequence[HostRow], mode: OutputMode) -> str:
    """Return the SELECT that gives the rows with the columns and types that clients know."""
    status, error = "Int64", "String"
    if mode.has_nulls:
        status, error = f"Nullable({status})", f"Nullable({error})"
    nothing = (None, None) if mode.has_nulls else (_UNFINISHED, "Unfinished")
    lines = []
    for row in rows:
        host, _, port = row.host.rpartition(":")
        said = nothing if row.status is None else (row.status, row.error)
        lines.append(json.dumps([host, int(port), *said, row.remaining, row.active]))
    structure = (
        f"host String, port UInt16, status {status}, error {error}, "
        "num_hosts_remaining UInt64, num_hosts_active UInt64"
    )
    texts = f"{render_text(structure)}, {render_text(chr(10).join(lines))}"
    return f"SELECT * FROM format(JSONCompactEachRow, {texts})"  # noqa: S608  quoted


def raise_first_error(rows: Sequence[HostRow]) -> None:
    """Raise what the first host that failed said."""
    for row in rows:
        if row.status:
            raise ServerError(
                row.status, f"DB::Exception: There was an error on [{row.host}]: {row.error}"
            )


def timed_out(
    number: int, hosts: int, *, unfinished: int, active: int, inactive: int, waited_s: float
) -> ServerError:
    """Return the error 159 of task `number`, which goes on in the background. Counts of hosts."""
    return ServerError(
        _TIMEOUT,
        f"DB::Exception: Distributed DDL task /clickhouse/task_queue/ddl/query-{number:010d} "
        f"is not finished on {unfinished} of {hosts} hosts "
        f"({active} of them are currently executing the task, {inactive} are inactive). "
        "They are going to execute the query in background. "
        f"Was waiting for {waited_s:.0f} seconds, which is longer than "
        "distributed_ddl_task_timeout",
    )
