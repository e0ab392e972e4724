"""A query as it comes from a client, and what running it amounted to, whatever the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """`important`: the settings that a server must know, or refuse the query.

    `parameters`: the values of `{name:Type}` in the text, each as ClickHouse's escaped text.
    `only_reads`: nothing may be changed by it (an HTTP GET).
    """

    query_id: str
    sql: str
    settings: Mapping[str, str] = field(default_factory=dict)
    important: frozenset[str] = frozenset()
    parameters: Mapping[str, str] = field(default_factory=dict)
    only_reads: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows and bytes: read from tables, written to tables, in the result."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(
            self.read_rows + other.read_rows,
            self.read_bytes + other.read_bytes,
            self.written_rows + other.written_rows,
            self.written_bytes + other.written_bytes,
            self.result_rows + other.result_rows,
            self.result_bytes + other.result_bytes,
        )
