"""The dashboard and the rules ask for what `/metrics` has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from app.metrics.declared import Metrics
from app.metrics.exposition import own_gauges
from app.metrics.state import State, families

DOCKER = Path(__file__).parents[2] / "docker"
DASHBOARD = json.loads((DOCKER / "grafana/dashboards/clickhouse-scim.json").read_text("utf-8"))
RULES = yaml.safe_load((DOCKER / "prometheus/rules.yml").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = {
    **{
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in PANELS
        for target in panel["targets"]
    },
    **{rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]},
}
ADDED = {"instance", "job"}  # by Prometheus


def known() -> dict[str, set[str]]:
    """Return the labels of every series that `/metrics` may have, by its name."""
    found: dict[str, set[str]] = {}
    metrics = Metrics()
    for declared in vars(metrics).values():
        labels = set(getattr(declared, "_labelnames", getattr(declared, "_labels", ())))
        for family in declared.collect() if hasattr(declared, "collect") else ():
            if family.type == "counter":
                found[f"{family.name}_total"] = labels
            else:
                for suffix in ("_bucket", "_sum", "_count"):
                    found[family.name + suffix] = labels | {"le"}
    for gauge in (*families(State(0)), *own_gauges({"redis": {"receiver": 0, "worker": 0}})):
        found[gauge.name] = set(getattr(gauge, "_labelnames", ()))
    return found


def walk(node: Any) -> Iterator[Any]:
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector"):
        if (inner := getattr(node, name, None)) is not None:
            yield from walk(inner)
    for inner in getattr(node, "args", None) or ():
        yield from walk(inner)


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS.keys())
def test_what_an_expression_asks_for_is_there_with_its_labels(expression: str) -> None:
    series = known()
    selectors = [x for x in walk(promql.parse(expression)) if isinstance(x, promql.VectorSelector)]
    assert selectors
    labels: set[str] = set()
    for selector in selectors:
        assert selector.name in series, selector.name
        labels |= series[selector.name]
        assert {one.name for one in selector.matchers.matchers} <= series[selector.name]
    for node in walk(promql.parse(expression)):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= labels | ADDED


def test_panels_have_places_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_is_and_asks_the_chosen_datasource() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"]["uid"] == f"${{{variable['name']}}}"
        assert all("\n" not in target["expr"] for target in panel["targets"])


def test_every_metric_is_on_the_dashboard_or_in_an_alert() -> None:
    asked = " ".join(EXPRESSIONS.values())
    told = {
        name.removesuffix("_bucket") for name in known() if not name.endswith(("_sum", "_count"))
    }
    left = {name for name in told if name not in asked}
    # Counted for whoever looks for a cause; nobody is woken for them.
    assert left == {
        "scim_bulk_left_total",
        "scim_ignored_attributes_total",
        "scim_lane_lag_events",
        "scim_resources_parked_total",
        "scim_strays_total",
    }
