"""What a driver's or server's error means: the one table from ClickHouse's codes to our classes."""

from __future__ import annotations

from asynch.errors import ClickHouseException, ServerException

from app.errors import StatementRefused, TargetError, TargetUnavailable
from workers.access.statements import masked

# The same statement may work later, so the whole lane waits. Every other code that a server answers
# with concerns the statement. ClickHouse, src/Common/ErrorCodes.cpp.
UNAVAILABLE: dict[int, str] = {
    3: "UNEXPECTED_END_OF_FILE",
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    159: "TIMEOUT_EXCEEDED",
    201: "QUOTA_EXCEEDED",  # the provisioner's own
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    279: "ALL_CONNECTION_TRIES_FAILED",
    341: "UNFINISHED",
    373: "SESSION_IS_LOCKED",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    516: "AUTHENTICATION_FAILED",  # ours: nobody's resource is to blame
    720: "USER_EXPIRED",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
}

# All that the driver raises when a connection breaks; uvloop has a RuntimeError for a closed one.
BROKEN = (ClickHouseException, OSError, EOFError, IndexError, RuntimeError)

_SHOWN = 1000  # characters of a statement of up to 200,000 that go into an error


def mapped(error: Exception, *, statement: str = "", logging_in: bool = False) -> TargetError:
    """Return `error` as ours, with no hash of a password in it: it goes into letters and logs.

    While logging in, any answer means that the target can't be used.
    """
    code = getattr(error, "code", None)
    shown = _shown(statement)
    if not isinstance(error, ServerException):
        text = masked(str(error)) or type(error).__name__
        return TargetUnavailable(text, code=code, statement=shown)
    kind = TargetUnavailable if logging_in or code in UNAVAILABLE else StatementRefused
    return kind(masked(error.message), code=code, statement=shown)


def timed_out(what: str, seconds: float, *, statement: str = "") -> TargetUnavailable:
    """Whether the statement was carried out is unknown, and it may still run: observe."""
    return TargetUnavailable(
        f"no answer to {what} within {seconds:g} s", code=209, statement=_shown(statement)
    )


def _shown(statement: str) -> str:
    return masked(statement[: 2 * _SHOWN])[:_SHOWN]
