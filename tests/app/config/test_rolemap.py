from __future__ import annotations

from typing import Any

import pytest

from app.config.rolemap import RoleMap, digest
from app.config.tenant import Tenant

RAW: dict[str, Any] = {
    "targets": ["main"],
    "default_roles": ["employee"],
    "groups": [
        {"group": "Data Analysts", "roles": ["analyst"]},
        {"group": "data analysts", "roles": ["reader"]},
        {"external_id": "G-1", "roles": ["engineer", "analyst"]},
    ],
}


def tenant(**changes: Any) -> Tenant:
    return Tenant.model_validate(RAW | changes)


ROLES = RoleMap.of(tenant())


def roles_of(
    role_map: RoleMap, links: dict[str, str], names: dict[str, str] | None = None
) -> set[str]:
    groups = {*links.values(), *(names or {})}
    gifts = role_map.gifts(groups, links, names or {})
    return {role for _, gift in gifts for role in gift.roles}


def test_entries_about_one_group_add_up() -> None:
    assert roles_of(ROLES, {"name:data analysts": "g"}) == {"analyst", "reader"}


def test_the_vocabulary_is_all_that_can_come_out() -> None:
    assert ROLES.vocabulary == {"employee", "analyst", "reader", "engineer"}


FITTING = {
    "name in any case": ("DATA Analysts", None, ("name:data analysts",)),
    "externalId": ("Other", "G-1", ("ext:G-1",)),
    "both": ("Data Analysts", "G-1", ("ext:G-1", "name:data analysts")),
    "externalId keeps its case": ("Other", "g-1", ()),
    "a name is no externalId": ("G-1", None, ()),
}


@pytest.mark.parametrize(("name", "external_id", "keys"), FITTING.values(), ids=FITTING.keys())
def test_a_group_fits_by_name_or_external_id(
    name: str, external_id: str | None, keys: tuple[str, ...]
) -> None:
    assert ROLES.keys_for(name, external_id) == keys


def test_linked_groups_give_the_union_of_their_roles() -> None:
    links = {"ext:G-1": "g1", "name:data analysts": "g2"}
    assert roles_of(ROLES, links) == {"analyst", "engineer", "reader"}


def test_a_link_that_the_file_no_longer_has_gives_nothing() -> None:
    assert roles_of(ROLES, {"name:gone": "g"}) == set()


PATTERNS = RoleMap.of(
    tenant(
        groups=[
            {"group": "ch-prod-admins", "roles": ["ops"]},
            {"pattern": "ch-prod-*", "roles": ["{1}_reader", "prod"]},
            {"pattern": "ch-*-*", "roles": ["{2}_{1}"]},
            {"pattern": "ch-*", "roles": ["writer"], "targets": ["dev"]},
        ]
    )
)
BY_NAME = {
    "the first pattern that fits counts alone": ("ch-prod-Sales", {"Sales_reader", "prod"}),
    "two places": ("ch-dev-sales", {"sales_dev"}),
    "no pattern fits": ("sales", set()),
    "an entry about the group goes first": ("ch-prod-admins", {"ops"}),
}


@pytest.mark.parametrize(("name", "roles"), BY_NAME.values(), ids=BY_NAME.keys())
def test_a_group_gives_what_its_name_says(name: str, roles: set[str]) -> None:
    links = dict.fromkeys(PATTERNS.keys_for(name, None), "g")
    assert roles_of(PATTERNS, links, {"g": name}) == roles


def test_an_entry_counts_on_its_targets_only() -> None:
    groups = [
        {"group": "Data", "roles": ["writer"], "targets": ["dev"]},
        {"group": "Data", "roles": ["reader"], "targets": ["prod"]},
        {"group": "Data", "roles": ["user"]},
    ]
    wanted = {"dev": {"writer", "user"}, "prod": {"reader", "user"}, "test": {"user"}}
    link = {"name:data": "g"}
    configured = tenant(groups=groups)
    assert {t: roles_of(RoleMap.of(configured, t), link) for t in wanted} == wanted
    assert roles_of(RoleMap.of(configured), link) == {"writer", "reader", "user"}


def test_groups_that_no_entry_names_get_a_role_of_their_own_if_the_file_says_so() -> None:
    created = RoleMap.of(tenant(unmapped_groups="create", role_prefix="acme_"))
    assert roles_of(created, {}, {"g": "Sales"}) == {"acme_Sales"}
    assert roles_of(created, {"ext:G-1": "g"}, {"g": "Sales"}) == {"analyst", "engineer"}
    assert roles_of(ROLES, {}, {"g": "Sales"}) == set()


def test_the_digest_ignores_order_and_targets() -> None:
    shuffled = tenant(groups=RAW["groups"][::-1], targets=["other"], verified_domains=["a.example"])
    assert digest(shuffled) == digest(tenant())


CHANGES: dict[str, dict[str, Any]] = {
    "template": {"user_name": "{tenant}__{userName}"},
    "marker": {"marker_role": "m"},
    "default roles": {"default_roles": []},
    "deletion": {"on_delete": "lock"},
    "log-in": {"authentication": {"method": "ldap", "server": "s"}},
    "groups": {"groups": RAW["groups"][:2]},
    "the order of patterns": {
        "groups": [{"pattern": "a*", "roles": ["x"]}, {"pattern": "*b", "roles": ["y"]}]
    },
    "the other order": {
        "groups": [{"pattern": "*b", "roles": ["y"]}, {"pattern": "a*", "roles": ["x"]}]
    },
    "default": {"groups": [{"group": "Data Analysts", "roles": ["analyst"], "default": False}]},
    "foreign grants": {"foreign_grants": "revoke"},
    "unmapped groups": {"unmapped_groups": "create", "role_prefix": "x_"},
    "definitions": {"roles": {"analyst": {"grants": ["SELECT ON a.*"]}}},
    "settings": {"roles": {"analyst": {"settings": {"readonly": True}}}},
    "row filters": {"roles": {"analyst": {"row_filters": {"a.b": "1"}}}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_the_digest_changes_with(changes: dict[str, Any]) -> None:
    others = [{}, *(other for other in CHANGES.values() if other is not changes)]
    assert digest(tenant(**changes)) not in {digest(tenant(**other)) for other in others}
