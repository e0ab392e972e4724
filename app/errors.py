"""Every error that this software raises on purpose.

    ClickHouseScimError
    ├─ ConfigError(problems)      every mistake at once, each with its key; the program exits 2
    ├─ ScimError                  status, scim_type: what the identity provider sees
    │  ├─ InvalidFilter, TooMany, Uniqueness, Mutability, InvalidSyntax, InvalidPath,
    │  │  NoTarget, InvalidValue, InvalidVersion, Sensitive          (RFC 7644 §3.12, table 9)
    │  ├─ InvalidCursor, ExpiredCursor, InvalidCount                 (RFC 9865)
    │  ├─ Conflict                what a bulk operation refers to is not there
    │  └─ Unauthorized, Forbidden, NotFound, MethodNotAllowed, RequestTimeout,
    │     PreconditionFailed, BodyTooLarge, UnsupportedMediaType, NotImplementedByServer,
    │     ServerError, TooManyRequests, TooManyTries, Unavailable
    ├─ DirectoryError
    │  ├─ DirectoryUnavailable    Redis did not answer: 503 and Retry-After; outcome unknown
    │  ├─ TooManyTokens           the tenant has enough tokens of this kind
    │  ├─ VolatileRedis           Redis would lose what it acknowledged: the program does not start
    │  ├─ LaterLayout             its data is of a later version: the program does not start
    │  └─ Misplaced               tenants lie on another Redis: the program does not start
    ├─ LaneError
    │  ├─ LeaseLost               stop, write nothing more
    │  └─ LaneStopped             the process ends: hand the lane back before its next statement
    └─ TargetError                code, statement
       ├─ TargetUnavailable       back off, the whole lane
       └─ StatementRefused        split, then park the guilty resource

The class decides what happens next; nobody reads messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


class ClickHouseScimError(Exception):
    """The root of the tree above."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration.

    `key`: as in the file (`tenants.acme.targets`). `reason`: what is wrong and what to do.
    """

    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


class ConfigError(ClickHouseScimError):
    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class ScimError(ClickHouseScimError):
    """What the client is told (RFC 7644 §3.12).

    `detail` names the attribute and never repeats a secret.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    scim_type: ClassVar[str | None] = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidFilter(ScimError):
    scim_type = "invalidFilter"


class TooMany(ScimError):
    scim_type = "tooMany"


class Uniqueness(ScimError):
    status = HTTPStatus.CONFLICT
    scim_type = "uniqueness"


class Mutability(ScimError):
    scim_type = "mutability"


class InvalidSyntax(ScimError):
    scim_type = "invalidSyntax"


class InvalidPath(ScimError):
    scim_type = "invalidPath"


class NoTarget(ScimError):
    scim_type = "noTarget"


class InvalidValue(ScimError):
    scim_type = "invalidValue"


class InvalidVersion(ScimError):
    scim_type = "invalidVers"


class Sensitive(ScimError):
    status = HTTPStatus.FORBIDDEN
    scim_type = "sensitive"


class InvalidCursor(ScimError):
    scim_type = "invalidCursor"


class ExpiredCursor(ScimError):
    scim_type = "expiredCursor"


class InvalidCount(ScimError):
    scim_type = "invalidCount"


class Conflict(ScimError):
    status = HTTPStatus.CONFLICT


class Unauthorized(ScimError):
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(ScimError):
    status = HTTPStatus.FORBIDDEN


class NotFound(ScimError):
    status = HTTPStatus.NOT_FOUND


class MethodNotAllowed(ScimError):
    status = HTTPStatus.METHOD_NOT_ALLOWED


class RequestTimeout(ScimError):
    status = HTTPStatus.REQUEST_TIMEOUT


class PreconditionFailed(ScimError):
    status = HTTPStatus.PRECONDITION_FAILED


class BodyTooLarge(ScimError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaType(ScimError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class NotImplementedByServer(ScimError):
    status = HTTPStatus.NOT_IMPLEMENTED


class ServerError(ScimError):
    """A mistake of ours; the log says more than the client is told."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class TooManyRequests(ScimError):
    """429: there is no room for it now. `retry_after_s` as in Unavailable."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooManyTries(TooManyRequests):
    """Tries to get in that failed."""


class Unavailable(ScimError):
    """503. `retry_after_s` goes out as `Retry-After`, whole seconds: Okta reads nothing else."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, detail: str, retry_after_s: int = 5) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class DirectoryError(ClickHouseScimError):
    pass


class DirectoryUnavailable(DirectoryError):
    """Redis did not answer. Whether a commit that was sent happened is unknown: never resend it."""


class TooManyTokens(DirectoryError):
    """The tenant has as many tokens of this kind as it may have."""


class VolatileRedis(DirectoryError):
    """Redis would lose acknowledged changes; the message names the setting to change."""


class LaterLayout(DirectoryError):
    """The data in Redis is laid out as a later version does; the message says what to do."""


class Misplaced(DirectoryError):
    """Directories lie on another Redis than the configuration says; the message says what to do."""


class LaneError(ClickHouseScimError):
    pass


class LeaseLost(LaneError):
    """The lane may be another worker's by now: write nothing more.

    Its next holder observes what was applied.
    """

    def __init__(self, lane: str, epoch: int) -> None:
        super().__init__(f"lease of lane {lane} is gone (epoch {epoch})")
        self.lane, self.epoch = lane, epoch


class LaneStopped(LaneError):
    """The process ends: the lane is handed back before its next statement, with work left."""


class TargetError(ClickHouseScimError):
    """A target answered with an error, or not at all.

    `code`: ClickHouse's error code, None where no server answered.
    `statement`: what was sent, secrets masked.
    """

    def __init__(self, message: str, *, code: int | None = None, statement: str = "") -> None:
        super().__init__(message)
        self.code, self.statement = code, statement


class TargetUnavailable(TargetError):
    """Network, time-outs, overload, Keeper: the same may work later. The whole lane backs off.

    `wait_s`: the target was not even asked, since it was away a moment ago; how long to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        statement: str = "",
        wait_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, statement=statement)
        self.wait_s = wait_s


class StatementRefused(TargetError):
    """The server understood and said no: split the statement, then park the guilty resource."""
