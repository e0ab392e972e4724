"""Enough of PromQL to try the alerts' expressions on what `/metrics` says."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import add, eq, ge, gt, le, lt, mul, ne, sub, truediv
from typing import Any

import promql_parser as promql
import pytest
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]

_COMPARING: Mapping[str, Callable[[float, float], bool]] = {
    ">": gt, "<": lt, ">=": ge, "<=": le, "==": eq, "!=": ne,
}  # fmt: skip
_COUNTING: Mapping[str, Callable[[float, float], float]] = {
    "+": add, "-": sub, "*": mul, "/": truediv,
}  # fmt: skip
_TOGETHER: Mapping[str, Callable[[Sequence[float]], float]] = {"max": max, "min": min, "sum": sum}


def parse(text: str) -> list[tuple[str, Labels, float]]:
    return [
        (sample.name, frozenset(sample.labels.items()), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


@dataclass(frozen=True, slots=True)
class Scrapes:
    """The first and the last scrape of a range; `evaluate` fails on what it does not know."""

    first: str
    last: str

    def evaluate(self, expression: str) -> Vector:
        """Return what the expression selects; an alert fires where that is not empty."""
        found = self._value(promql.parse(expression))
        assert isinstance(found, dict), expression
        return found

    def _value(self, node: Any) -> Vector | float:
        match node:
            case promql.NumberLiteral():
                return float(node.val)
            case promql.ParenExpr():
                return self._value(node.expr)
            case promql.VectorSelector():
                return self._select(node, self.last)
            case promql.AggregateExpr():
                return self._aggregate(node)
            case promql.BinaryExpr():
                return _binary(str(node.op), self._value(node.lhs), self._value(node.rhs))
            case promql.Call():
                return self._call(node)
        raise AssertionError(f"unknown: {node}")

    def _call(self, node: Any) -> Vector:
        name = node.func.name
        if name == "absent":
            return {} if self._value(node.args[0]) else {frozenset(): 1.0}
        if name in {"rate", "increase"}:
            selector, seconds = node.args[0].vector_selector, node.args[0].range.total_seconds()
            before = self._select(selector, self.first)
            # As with Prometheus, what was not there before has no rate.
            return {
                labels: (value - before[labels]) / (seconds if name == "rate" else 1)
                for labels, value in self._select(selector, self.last).items()
                if labels in before
            }
        if name == "histogram_quantile":
            share, buckets = self._value(node.args[0]), self._value(node.args[1])
            assert isinstance(share, float)
            assert isinstance(buckets, dict)
            return _quantile(share, buckets)
        raise AssertionError(f"unknown: {name}")

    def _select(self, node: Any, scrape: str) -> Vector:
        return {
            labels: value
            for name, labels, value in parse(scrape)
            if name == node.name
            and all(_matches(one, dict(labels)) for one in node.matchers.matchers)
        }

    def _aggregate(self, node: Any) -> Vector:
        inner = self._value(node.expr)
        assert isinstance(inner, dict)
        kept = set(node.modifier.labels) if node.modifier is not None else set()
        groups: dict[Labels, list[float]] = {}
        for labels, value in inner.items():
            key = frozenset(pair for pair in labels if pair[0] in kept)
            groups.setdefault(key, []).append(value)
        return {key: _TOGETHER[str(node.op)](values) for key, values in groups.items()}


def _matches(matcher: Any, labels: Mapping[str, str]) -> bool:
    value, kind = labels.get(matcher.name, ""), str(matcher.op).rpartition(".")[2]
    same = (
        re.fullmatch(matcher.value, value) is not None
        if kind in {"Re", "NotRe"}
        else value == matcher.value
    )
    return same is (kind in {"Equal", "Re"})


def _binary(op: str, left: Vector | float, right: Vector | float) -> Vector | float:
    if isinstance(left, float) and isinstance(right, float):
        return _COUNTING[op](left, right)
    if op in _COMPARING:
        assert isinstance(left, dict)
        assert isinstance(right, float)
        return {key: value for key, value in left.items() if _COMPARING[op](value, right)}
    if isinstance(left, dict) and isinstance(right, dict):
        both = ((key, value, right[key]) for key, value in left.items() if key in right)
        return {key: _COUNTING[op](a, b) if b else math.nan for key, a, b in both}
    raise AssertionError(f"unknown: {op}")


def _quantile(share: float, buckets: Vector) -> Vector:
    """The upper bound of the bucket that holds the quantile: enough for a threshold."""
    found: Vector = {}
    steps = sorted((float(dict(labels)["le"]), value) for labels, value in buckets.items())
    total = steps[-1][1] if steps else 0.0
    if total:
        found[frozenset()] = next(bound for bound, value in steps if value >= share * total)
    return found


@pytest.fixture
def scrapes() -> Callable[[str, str], Scrapes]:
    return Scrapes
