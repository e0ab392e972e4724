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


def test_entries_about_one_group_become_one() -> None:
    assert [(mapping.key, mapping.roles) for mapping in ROLES.mappings] == [
        ("ext:G-1", ("analyst", "engineer")),
        ("name:data analysts", ("analyst", "reader")),
    ]


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
    assert ROLES.roles_for(["ext:G-1", "name:data analysts"]) == {"analyst", "engineer", "reader"}


def test_a_link_that_the_file_no_longer_has_gives_nothing() -> None:
    assert ROLES.roles_for(["name:gone"]) == frozenset()


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
    "definitions": {"roles": {"analyst": {"grants": ["SELECT ON a.*"]}}},
    "settings": {"roles": {"analyst": {"settings": {"readonly": True}}}},
    "row filters": {"roles": {"analyst": {"row_filters": {"a.b": "1"}}}},
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_the_digest_changes_with(changes: dict[str, Any]) -> None:
    assert digest(tenant(**changes)) != digest(tenant())
