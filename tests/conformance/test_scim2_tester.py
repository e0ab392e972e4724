"""scim2-tester, written by others against the RFCs, finds nothing to say about the receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import CheckResult, Status, check_server

if TYPE_CHECKING:
    from tests.conformance.conftest import Live

FINE = {Status.SUCCESS, Status.COMPLIANT, Status.ACCEPTABLE}


@pytest.fixture(scope="module")
def results(live: Live) -> list[CheckResult]:
    """What it says about a tenant that is empty, with all of its checks."""
    access = live.take()
    authorization = {"Authorization": f"Bearer {access.token}"}
    with httpx2.Client(base_url=access.base, headers=authorization, timeout=30) as client:
        return check_server(SyncSCIMClient(client))


def described(results: list[CheckResult]) -> list[str]:
    return [f"{r.resource_type} {r.title}: {r.status.name} {r.reason} {r.data}" for r in results]


def test_no_check_fails(results: list[CheckResult]) -> None:
    """Neither a MUST (error, critical) nor a SHOULD (deviation) is missed, and none is skipped."""
    assert described([r for r in results if r.status not in FINE]) == []


def test_every_resource_type_is_checked_whole(results: list[CheckResult]) -> None:
    """A server that hides its schemas has nothing to fail at; this one shows them all."""
    checked = {r.resource_type for r in results}
    assert checked == {None, "User", "Group", "Agent", "AgenticApplication"}
    verbs = ("create", "read", "update", "delete")
    tags = {tag for r in results if r.resource_type for tag in r.tags}
    assert tags >= {f"crud:{verb}" for verb in verbs}
    assert len(results) > 200
