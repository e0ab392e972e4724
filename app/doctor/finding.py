"""What a check has found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """`warn`: it works today. `fail`: it does not, or acknowledged changes are at risk."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of `doctor`. `check`: what was looked at, the same words in each run; `subject`: of
    whom; `mend`: a command, a statement or a setting, empty where nothing is to be done.
    """

    check: str
    subject: str
    status: Status
    finding: str
    mend: str = ""


def ok(check: str, subject: str, finding: str) -> Finding:
    return Finding(check, subject, Status.OK, finding)


def warn(check: str, subject: str, finding: str, mend: str) -> Finding:
    return Finding(check, subject, Status.WARN, finding, mend)


def fail(check: str, subject: str, finding: str, mend: str) -> Finding:
    return Finding(check, subject, Status.FAIL, finding, mend)
