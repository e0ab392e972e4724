from __future__ import annotations

import pytest

from workers.access.nature import Storage, keeps_users, mismatch

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


@pytest.mark.parametrize(("members", "fatal"), [(2, None), (3, True), (1, False)])
def test_a_cluster_with_other_servers_than_hosts_names_is_told(
    members: int, fatal: bool | None
) -> None:
    found = mismatch("on_cluster", ["local_directory"], servers=2, cluster="main", members=members)
    assert (found.is_fatal if found else None) is fatal


def test_the_first_directory_that_can_be_written_to_counts() -> None:
    assert keeps_users([XML, "replicated", "local_directory"]) == "together"
    assert keeps_users([XML, "local_directory", "replicated"]) == "apart"
