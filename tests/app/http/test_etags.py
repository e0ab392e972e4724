"""Preconditions on single resources: nobody overwrites what he has not seen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from app.errors import PreconditionFailed
from app.http.preconditions import parse_preconditions

if TYPE_CHECKING:
    from tests.app.http.conftest import Client

MATCHES = {
    "weak": ('W/"5"', True),
    "strong": ('"5"', True),
    "any": ("*", True),
    "one of a list": ('W/"4", "5" ,W/"6"', True),
    "empty items": (', "5",', True),
    "another": ('W/"4"', False),
    "no tag": ("5", False),
    "unclosed": ('W/"5', False),
    "empty": ("", False),
    "any among tags": ('"4", *', False),
}


@pytest.mark.parametrize(("header", "matches"), MATCHES.values(), ids=MATCHES.keys())
def test_a_list_of_tags_names_versions(header: str, matches: bool) -> None:
    found = parse_preconditions([header], [])
    if matches:
        found.check_write(5)
    else:
        with pytest.raises(PreconditionFailed):
            found.check_write(5)
    assert parse_preconditions([], [header]).holds_none_match(5) is not matches


def test_no_header_asks_for_nothing() -> None:
    assert parse_preconditions([], []).is_empty
    parse_preconditions([], []).check_write(5)


PATCH = {"Operations": [{"op": "replace", "path": "title", "value": "Lead"}]}
WRITES: dict[str, Any] = {
    "PUT": {"userName": "ana", "title": "Lead"},
    "PATCH": PATCH,
    "DELETE": None,
}


@pytest.mark.parametrize("method", WRITES)
async def test_a_write_of_another_version_changes_nothing(scim: Client, method: str) -> None:
    ana = await scim.user("ana")
    tag = (await scim("GET", f"/Users/{ana}")).headers["ETag"]
    for headers in (
        {"If-Match": 'W/"999"'},
        {"If-Match": "nonsense"},
        {"If-None-Match": tag},
        {"If-None-Match": "*"},
    ):
        refused = await scim(method, f"/Users/{ana}", WRITES[method], headers=headers)
        assert refused.refuses(412)
    assert await scim.last_seq() == 1
    good = {"If-Match": f'W/"999", {tag}', "If-None-Match": 'W/"999"'}
    assert (await scim(method, f"/Users/{ana}", WRITES[method], headers=good)).status < 300
    assert await scim.last_seq() == 2
    assert (await scim(method, "/Users/none", WRITES[method], headers=good)).refuses(404)


async def test_a_read_of_what_is_known_has_no_body(scim: Client) -> None:
    ana = await scim.user("ana")
    got = await scim("GET", f"/Users/{ana}")
    again = await scim("GET", f"/Users/{ana}", headers={"If-None-Match": got.headers["ETag"]})
    assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", got.headers["ETag"])
    assert (await scim("GET", f"/Users/{ana}", headers={"If-None-Match": 'W/"9"'})).status == 200
    assert (await scim("GET", f"/Users/{ana}", headers={"If-Match": 'W/"9"'})).refuses(412)
    assert got.json["meta"]["version"] == got.headers["ETag"]


async def test_members_count_for_a_group_s_version(scim: Client) -> None:
    team = await scim.group("Team")
    tag = (await scim("GET", f"/Groups/{team}")).headers["ETag"]
    add = {"Operations": [{"op": "add", "path": "members", "value": [{"value": "x"}]}]}
    assert (await scim("PATCH", f"/Groups/{team}", add)).status == 200
    assert (await scim("DELETE", f"/Groups/{team}", headers={"If-Match": tag})).refuses(412)
    fresh = await scim("GET", f"/Groups/{team}", headers={"If-None-Match": tag})
    assert fresh.status == 200


@pytest.mark.parametrize("kind", ["Users", "Groups"])
async def test_of_many_writers_from_one_version_one_wins(scim: Client, kind: str) -> None:
    made = await scim.user("ana") if kind == "Users" else await scim.group("Team")
    path, tag = f"/{kind}/{made}", 'W/"1"'

    async def write(number: int) -> int:
        operation: dict[str, Any] = {
            "op": "add",
            "path": "members",
            "value": {"value": f"m{number}"},
        }
        if kind == "Users":
            operation = {"op": "replace", "path": "title", "value": f"title {number}"}
        body = {"Operations": [operation]}
        return (await scim("PATCH", path, body, headers={"If-Match": tag})).status

    answers = await asyncio.gather(*(write(n) for n in range(12)))
    assert sorted(answers) == [200] + [412] * 11
    assert await scim.last_seq() == 2
