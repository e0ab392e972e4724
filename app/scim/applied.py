"""An extension of our own: how far a resource has come on each target, in SCIM itself.

Read-only, and made when it is asked for (`attributes=urn:…:Applied`): it is the lanes' state, not
the resource's, so it counts neither for `meta.version` nor for filters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.scim.attribute import Attribute, Returned, Schema, Type

APPLIED_URN = "urn:clickhouse-scim:params:scim:schemas:extension:clickhouse:2.0:Applied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """A dead letter of the resource: its id, ClickHouse's error code if there was one, and why."""

    letter: str
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One lane as this resource sees it. `applied_seq`: the last event that the target has."""

    target: str
    applied_seq: int
    lag_seconds: float
    parked: Parked | None = None


def applied_schema(returned: Returned = "request") -> Schema:
    """Return the extension, sent on request or, by setting, always."""
    return Schema(
        id=APPLIED_URN,
        announced=False,
        name="Applied",
        description="How far the resource has come on each ClickHouse target",
        attributes=(
            Attribute(
                name="targets",
                type="complex",
                multi_valued=True,
                mutability="readOnly",
                returned=returned,
                description="The targets of the tenant, and what each has of the resource.",
                sub_attributes=(
                    _part("value", "The name of the target.", case_exact=True),
                    _part("applied", "Whether the target has the resource as it is.", "boolean"),
                    _part("appliedSeq", "The last event that the target has.", "integer"),
                    _part("lagSeconds", "How long the oldest change has waited.", "decimal"),
                    _part("letter", "The dead letter of the resource.", case_exact=True),
                    _part("code", "ClickHouse's code of the error.", "integer"),
                    _part("reason", "Why the resource could not be applied."),
                ),
            ),
        ),
    )


def _part(
    name: str, description: str, kind: Type = "string", *, case_exact: bool = False
) -> Attribute:
    return Attribute(
        name=name,
        type=kind,
        case_exact=case_exact,
        mutability="readOnly",
        description=description,
    )


APPLIED = applied_schema()


def applied(version: int, lanes: Iterable[Progress]) -> dict[str, Any]:
    """Return what stands under APPLIED_URN in a resource whose last event is `version`."""
    return {"targets": [_target(version, lane) for lane in lanes]}


def _target(version: int, lane: Progress) -> dict[str, Any]:
    told: dict[str, Any] = {
        "value": lane.target,
        "applied": lane.applied_seq >= version and lane.parked is None,
        "appliedSeq": lane.applied_seq,
        "lagSeconds": lane.lag_seconds,
    }
    if lane.parked is not None:
        code = {} if lane.parked.code is None else {"code": lane.parked.code}
        told |= {"letter": lane.parked.letter, **code, "reason": lane.parked.reason}
    return told
