"""docs/metrics.md has each metric with its labels."""

from __future__ import annotations

import re
from pathlib import Path

from app.metrics.declared import MOST_TENANTS, Metrics
from app.metrics.exposition import SHARE, STATE_S, own_gauges
from app.metrics.fleet import ALIVE_S, FLUSH_S
from app.metrics.state import WORST, State, families

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text("utf-8")


def test_every_metric_is_told_and_no_other() -> None:
    counted = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in Metrics().registry.collect()
    }
    read = {family.name for family in (*families(State(0)), *own_gauges({"redis": {}}))}
    told = re.findall(r"^\| (`scim_[^|]*)", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(scim_\w+)`", "".join(told))) == counted | read


def test_the_figures_that_the_page_names_are_those_of_the_code() -> None:
    for said in (
        f"added every {FLUSH_S:g} seconds",
        f"read at most every {STATE_S:g} seconds",
        {20: "a twentieth of the time"}[SHARE],
        f"at most {MOST_TENANTS} tenants",
        f"the {WORST} worst",
        f"within {ALIVE_S:g} seconds",
    ):
        assert said in PAGE
