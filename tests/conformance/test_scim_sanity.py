"""scim-sanity's probe, written by others, passes in its strict mode, and asks all it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scim_sanity.probe.runner import run_probe_api

if TYPE_CHECKING:
    from tests.conformance.conftest import Live


@pytest.fixture(scope="module")
def probed(live: Live) -> dict[str, Any]:
    """Its report on a tenant that is empty."""
    access = live.take()
    report: dict[str, Any] = run_probe_api(access.base, token=access.token, strict=True)
    return report


def test_no_check_fails_warns_or_is_skipped(probed: dict[str, Any]) -> None:
    others = [result for result in probed["results"] if result["status"] != "pass"]
    assert others == []
    assert probed["exit_code"] == 0


def test_agents_are_checked_too(probed: dict[str, Any]) -> None:
    """It skips types that a server does not announce; then it would have nothing to fail at."""
    phases = {result["phase"].partition(" — ")[2] for result in probed["results"]}
    assert phases >= {
        "User CRUD Lifecycle",
        "Group CRUD Lifecycle",
        "Agent CRUD Lifecycle",
        "AgenticApplication CRUD Lifecycle",
        "Agent Rapid Lifecycle",
    }
