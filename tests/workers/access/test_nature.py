from __future__ import annotations

import pytest

from workers.access.nature import Member, Place, Storage, keeps_users, mismatch, unnamed

XML = "users_xml"
CASES: dict[str, tuple[Storage, list[str], int, bool | None]] = {
    "one server": ("replicated", [XML, "local_directory"], 1, None),
    "replicated": ("replicated", [XML, "replicated"], 3, None),
    "replicated before local": ("replicated", [XML, "replicated", "local_directory"], 3, None),
    "several that share nothing": ("replicated", [XML, "local_directory"], 3, True),
    "per node": ("per_node", [XML, "local_directory"], 3, None),
    "per node that share": ("per_node", [XML, "replicated"], 3, False),
    "one node that shares": ("per_node", [XML, "replicated"], 1, None),
    "nowhere": ("replicated", [XML, "ldap"], 1, True),
}


@pytest.mark.parametrize(("storage", "kinds", "servers", "fatal"), CASES.values(), ids=CASES.keys())
def test_a_storage_that_the_server_has_not_is_told(
    storage: Storage, kinds: list[str], servers: int, fatal: bool | None
) -> None:
    found = mismatch(storage, kinds, servers=servers)
    assert (found.is_fatal if found else None) is fatal


APART, TOGETHER = ["local_directory"], ["replicated"]
CLUSTERED: dict[str, tuple[Storage, list[str], str | None, int, bool | None]] = {
    "on a cluster": ("on_cluster", APART, "main", 3, None),
    "on a cluster that the server does not know": ("on_cluster", APART, "mian", 0, True),
    "replicated on a cluster": ("replicated", TOGETHER, "main", 3, None),
    "on a cluster, but replicated": ("on_cluster", TOGETHER, "main", 3, False),
    "replicated, but each for itself": ("replicated", APART, "main", 3, True),
    "one server that is one of several": ("replicated", APART, None, 0, False),
}


@pytest.mark.parametrize(
    ("storage", "kinds", "cluster", "members", "fatal"), CLUSTERED.values(), ids=CLUSTERED.keys()
)
def test_what_the_server_says_of_its_cluster_decides(
    storage: Storage, kinds: list[str], cluster: str | None, members: int, fatal: bool | None
) -> None:
    found = mismatch(
        storage, kinds, servers=1, cluster=cluster, members=members, clusters=("main", "z")
    )
    assert (found.is_fatal if found else None) is fatal
    if kinds == APART and found:
        assert "on_cluster" in found.mend or "main, z" in found.told


A, B, C = ("a", 9000), ("b", 9000), ("c", 9000)


def members(local: str = "") -> list[Member]:
    names = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
    return [Member(name, at, 9000, name == local) for name, at in names.items()]


UNNAMED: dict[str, tuple[list[Place], dict[Place, list[Member]], set[Place]]] = {
    "the others": ([A], {A: members("a")}, {B, C}),
    "none of those that hosts names": ([A, C], {A: members("a")}, {B}),
    "nor by its address": ([("10.0.0.2", 9000)], {A: members()}, {A, C}),
    "nor under another name": ([("alias", 9000)], {("alias", 9000): members("b")}, {A, C}),
    "one that was found stays found": ([A], {A: members("a"), B: members("b")}, {B, C}),
    "what any of them says": ([A], {A: members("a")[:1], B: members("b")}, {B, C}),
    "nobody says anything": ([A], {}, set()),
}


@pytest.mark.parametrize(("hosts", "told", "found"), UNNAMED.values(), ids=UNNAMED.keys())
def test_members_that_hosts_does_not_name_are_found(
    hosts: list[Place], told: dict[Place, list[Member]], found: set[Place]
) -> None:
    assert unnamed(hosts, told) == found


def test_the_first_directory_that_can_be_written_to_counts() -> None:
    assert keeps_users([XML, "replicated", "local_directory"]) == "together"
    assert keeps_users([XML, "local_directory", "replicated"]) == "apart"
