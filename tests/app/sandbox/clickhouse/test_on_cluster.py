"""The ON CLUSTER clause, and what a client is told of such a statement."""

from __future__ import annotations

import pytest

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.on_cluster import split_on_cluster
from app.sandbox.clickhouse.on_cluster_answer import (
    HostRow,
    OutputMode,
    raise_first_error,
    render_answer,
)
from app.sandbox.clickhouse.tokens import parse_tokens

CLAUSES = {
    "CREATE USER a ON CLUSTER c HOST ANY": ("CREATE USER a HOST ANY", "c"),
    "GRANT ON CLUSTER 'c d' r TO u": ("GRANT r TO u", "c d"),
    "GRANT SELECT ON d.t TO u ON CLUSTER `c`": ("GRANT SELECT ON d.t TO u", "c"),
    "CREATE TABLE t ON CLUSTER c (a Int8)": ("CREATE TABLE t (a Int8)", "c"),
}
NONE = [
    "SELECT 1 FROM a JOIN b ON cluster = x",
    "CREATE VIEW v AS SELECT 1 FROM a JOIN b ON cluster c",
    "CREATE ROW POLICY p ON t USING (1 ON CLUSTER c)",
    "GRANT SELECT ON cluster TO u",
]


@pytest.mark.parametrize(("sql", "found"), CLAUSES.items(), ids=CLAUSES.keys())
def test_the_clause_is_taken_out(sql: str, found: tuple[str, str]) -> None:
    assert split_on_cluster(sql, parse_tokens(sql)) == found


@pytest.mark.parametrize("sql", NONE)
def test_what_only_looks_like_it_is_left(sql: str) -> None:
    assert split_on_cluster(sql, parse_tokens(sql)) == (sql, "")


@pytest.mark.parametrize("mode", OutputMode)
def test_hosts_that_have_not_finished_are_null_or_unfinished(mode: OutputMode) -> None:
    sql = render_answer([HostRow("h:1", None, "", 1, 0)], mode)
    assert ("null, null" in sql) == mode.has_nulls
    assert ("Nullable" in sql) == mode.has_nulls
    assert ('3, "Unfinished"' in sql) != mode.has_nulls


def test_the_first_host_that_failed_is_told() -> None:
    rows = [HostRow("a:1", 0, "", 1, 0), HostRow("b:2", 493, "Code: 493. x", 0, 0)]
    with pytest.raises(ServerError, match=r"There was an error on \[b:2\]: Code: 493") as raised:
        raise_first_error(rows)
    assert raised.value.code == 493
    raise_first_error(rows[:1])
