from __future__ import annotations

from typing import Any

from app.config.rolemap import RoleMap
from app.config.tenant import Tenant
from workers.access.why import Reason, reasons


def role_map(**keys: Any) -> RoleMap:
    return RoleMap.of(Tenant.model_validate({"targets": ["main"], **keys}))


TWO = role_map(
    default_roles=["employee"],
    groups=[
        {"group": "Analysts", "roles": ["reader"]},
        {"external_id": "x", "roles": ["reader", "writer"]},
    ],
)
LINKS = {"name:analysts": "A", "ext:x": "X"}


def test_each_group_that_gives_a_role_is_a_reason() -> None:
    assert reasons(TWO, frozenset({"A", "X"}), {}, LINKS, {}) == {
        "employee": [Reason("default_roles")],
        "reader": [Reason("name:analysts", ("A",)), Reason("ext:x", ("X",))],
        "writer": [Reason("ext:x", ("X",))],
    }


def test_a_group_in_groups_is_told_with_the_shortest_way() -> None:
    above = {"c": frozenset({"b", "A"}), "b": frozenset({"A"}), "A": frozenset({"c"})}
    found = reasons(TWO, frozenset({"c"}), above, LINKS, {})
    assert found["reader"] == [Reason("name:analysts", ("A", "c"))]


def test_a_group_that_fits_a_pattern_is_a_reason() -> None:
    patterns = role_map(groups=[{"pattern": "ch-*", "roles": ["{1}_reader"]}])
    found = reasons(patterns, frozenset({"g"}), {}, {}, {"g": "ch-prod"})
    assert found == {"prod_reader": [Reason("pattern for ch-prod", ("g",))]}
