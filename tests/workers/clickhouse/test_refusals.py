"""From a driver's or server's error to what happens next."""

from __future__ import annotations

from typing import Any

import pytest
from asynch import errors

from app.errors import StatementRefused, TargetError, TargetUnavailable
from workers.clickhouse.refusals import mapped, timed_out

# The driver's constructors have no types.
driver: Any = errors


def answer(code: int) -> Exception:
    error: Exception = driver.ServerException("no", code)
    return error


CASES: dict[str, tuple[Exception, type[TargetError], int | None]] = {
    "syntax": (answer(62), StatementRefused, 62),
    "read-only": (answer(164), StatementRefused, 164),
    "exists": (answer(493), StatementRefused, 493),
    "from users.xml": (answer(495), StatementRefused, 495),
    "missing right": (answer(497), StatementRefused, 497),
    "no such role": (answer(511), StatementRefused, 511),
    "nobody knows this code": (answer(4711), StatementRefused, 4711),
    "took too long": (answer(159), TargetUnavailable, 159),
    "memory": (answer(241), TargetUnavailable, 241),
    "killed": (answer(394), TargetUnavailable, 394),
    "our own log-in": (answer(516), TargetUnavailable, 516),
    "Keeper": (answer(999), TargetUnavailable, 999),
    "no network": (driver.NetworkError("no"), TargetUnavailable, 210),
    "killed in the middle of a query": (driver.OperationalError("no"), TargetUnavailable, None),
    "driver confused": (driver.PartiallyConsumedQueryError(), TargetUnavailable, -1),
    "connection reset": (ConnectionResetError(), TargetUnavailable, None),
    "end of file": (EOFError(), TargetUnavailable, None),
}


@pytest.mark.parametrize(("error", "kind", "code"), CASES.values(), ids=CASES.keys())
def test_an_error_is(error: Exception, kind: type[TargetError], code: int | None) -> None:
    failure = mapped(error, statement="GRANT …")
    assert (type(failure), failure.code, failure.statement) == (kind, code, "GRANT …")


def test_whatever_a_log_in_is_answered_with_the_target_can_not_be_used() -> None:
    assert isinstance(mapped(answer(81), logging_in=True), TargetUnavailable)


def test_a_long_statement_is_cut() -> None:
    assert len(mapped(answer(62), statement="x" * 200_000).statement) == 1000


def test_no_hash_of_a_password_gets_into_an_error() -> None:
    hashed = "0123456789abcdef" * 4
    sql = f"CREATE USER `ana` IDENTIFIED WITH sha256_hash BY '{hashed}' SALT '{hashed}'"
    told = driver.ServerException(f"Syntax error: failed at position 9: {sql}", 62)
    broken = OSError(f"lost while sending {sql}")
    for failure in (
        mapped(told, statement=sql),
        mapped(broken, statement=sql),
        timed_out("a statement", 1, statement="x" * 990 + sql),
    ):
        assert hashed[:16] not in str(failure) + repr(failure) + (failure.statement or "")
