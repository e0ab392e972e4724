"""How far a resource has come, as a client reads it who asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from app.scim.applied import APPLIED_URN, Parked, Progress, applied, applied_schema
from app.scim.attribute import Attribute, ResourceType, Returned
from app.scim.present import parse_selection, present
from app.scim.schema import USER
from app.scim.validate import parse_resource

PARKED = Parked(letter="acme/main/1", code=493, reason="user 'ana' exists and is not managed")


@pytest.mark.parametrize(
    ("lane", "told"),
    [
        (
            Progress(target="main", applied_seq=7, lag_seconds=0),
            {"value": "main", "applied": True, "appliedSeq": 7, "lagSeconds": 0},
        ),
        (
            Progress(target="main", applied_seq=6, lag_seconds=1.5),
            {"value": "main", "applied": False, "appliedSeq": 6, "lagSeconds": 1.5},
        ),
        (
            Progress(target="main", applied_seq=9, lag_seconds=0, parked=PARKED),
            {
                "value": "main",
                "applied": False,
                "appliedSeq": 9,
                "lagSeconds": 0,
                "letter": "acme/main/1",
                "code": 493,
                "reason": "user 'ana' exists and is not managed",
            },
        ),
    ],
    ids=["there", "on its way", "parked"],
)
def test_a_target_is_told(lane: Progress, told: dict[str, Any]) -> None:
    assert applied(7, [lane]) == {"targets": [told]}


def test_an_error_without_a_code_has_none() -> None:
    parked = Parked(letter="l", code=None, reason="a protected name")
    lane = Progress(target="main", applied_seq=7, lag_seconds=0, parked=parked)
    assert "code" not in applied(7, [lane])["targets"][0]


def test_everything_that_is_told_is_in_the_schema_and_read_only() -> None:
    (targets,) = applied_schema().attributes
    lane = Progress(target="main", applied_seq=7, lag_seconds=0, parked=PARKED)
    (told,) = applied(7, [lane])["targets"]
    assert [sub.name for sub in targets.sub_attributes] == list(told)
    parts: list[Attribute] = [targets, *targets.sub_attributes]
    assert {part.mutability for part in parts} == {"readOnly"}


def shown(returned: Returned, attributes: str | None) -> dict[str, Any]:
    user: ResourceType = USER.extended(applied_schema(returned))
    lane = Progress(target="main", applied_seq=1, lag_seconds=0)
    document = {
        "schemas": [USER.schema.id, APPLIED_URN],
        "userName": "ana",
        APPLIED_URN: applied(1, [lane]),
    }
    return present(
        user,
        document,
        resource_id="1",
        location="l",
        version=1,
        created_ms=0,
        last_modified_ms=0,
        attributes=parse_selection(user, attributes, None),
    )


@pytest.mark.parametrize(
    ("returned", "attributes", "is_there"),
    [
        ("request", None, False),
        ("request", "userName", False),
        ("request", APPLIED_URN, True),
        ("request", f"userName,{APPLIED_URN}:targets", True),
        ("default", None, True),
        ("default", "userName", False),
    ],
)
def test_it_is_shown_to_whoever_asks(
    returned: Returned, attributes: str | None, is_there: bool
) -> None:
    answer = shown(returned, attributes)
    assert (APPLIED_URN in answer) is is_there
    assert (APPLIED_URN in answer["schemas"]) is is_there


def test_what_a_client_sends_of_it_is_dropped() -> None:
    user = USER.extended(applied_schema())
    sent = {"userName": "ana", APPLIED_URN: {"targets": [{"value": "main", "applied": True}]}}
    parsed = parse_resource(user, sent)
    assert APPLIED_URN not in parsed.document
    assert parsed.ignored == ()
