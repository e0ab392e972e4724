"""Every bound on a request is a setting; what is beyond it is refused whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.app.http.conftest import Running
    from tests.conftest import RedisServer


def patch(count: int) -> dict[str, Any]:
    return {"Operations": [{"op": "replace", "path": "title", "value": "x"}] * count}


def emails(count: int) -> dict[str, Any]:
    return {"userName": "x", "emails": [{"value": f"{n}@x.y"} for n in range(count)]}


def members(count: int) -> dict[str, Any]:
    return {"displayName": "x", "members": [{"value": f"m{n}"} for n in range(count)]}


def nested(depth: int) -> dict[str, Any]:
    body: Any = "x"
    for _ in range(depth - 1):
        body = {"x": body}
    return {"userName": "x", "unknown": body}


BOUNDS: dict[str, tuple[str, Any, Any, tuple[int, str | None]]] = {
    # setting, what is still taken, what is too much, the refusal
    "max_body_bytes = 2000": (
        "POST /Users",
        {"userName": "x", "title": "t" * 1900},
        {"userName": "x", "title": "t" * 2000},
        (413, None),
    ),
    "max_name_length = 10": (
        "POST /Users",
        {"userName": "a" * 10},
        {"userName": "a" * 11},
        (400, "invalidValue"),
    ),
    "max_attribute_length = 10": (
        "POST /Users",
        {"userName": "x", "title": "a" * 10},
        {"userName": "x", "title": "a" * 11},
        (400, "invalidValue"),
    ),
    "max_values = 3": ("POST /Users", emails(3), emails(4), (400, "tooMany")),
    "max_members = 3": ("POST /Groups", members(3), members(4), (400, "tooMany")),
    "max_json_depth = 4": ("POST /Users", nested(4), nested(5), (400, "invalidValue")),
    "max_patch_operations = 3": ("PATCH /Users/ID", patch(3), patch(4), (400, "tooMany")),
    "max_filter_length = 20": (
        "POST /Users/.search",
        {"filter": 'title eq "' + "x" * 9 + '"'},
        {"filter": 'title eq "' + "x" * 10 + '"'},
        (400, "invalidFilter"),
    ),
    "max_filter_depth = 2": (
        "POST /Users/.search",
        {"filter": "((title pr))"},
        {"filter": "(((title pr)))"},
        (400, "invalidFilter"),
    ),
}


@pytest.mark.parametrize("setting", BOUNDS)
async def test_a_request_beyond_a_bound_is_refused_and_changes_nothing(
    running: Running, redis_server: RedisServer, tmp_path: Path, setting: str
) -> None:
    request, fits, exceeds, (status, scim_type) = BOUNDS[setting]
    method, path = request.split()
    file = tmp_path / "clickhouse-scim.toml"
    async with running(file, redis_server.url, f"[limits]\n{setting}\n") as service:
        scim = service.scim
        path = path.replace("ID", await scim.user("ana"))
        assert (await scim(method, path, exceeds)).refuses(status, scim_type)
        assert await scim.last_seq() == 1
        assert (await scim(method, path, fits)).status < 300


async def test_a_filter_in_a_url_that_is_too_long_is_refused_in_scim_s_form(
    running: Running, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with running(tmp_path / "clickhouse-scim.toml", redis_server.url) as service:
        text = "x" * 8200
        reply = await service.scim("GET", f"/Users?filter=title+eq+%22{text}%22")
        assert reply.refuses(400, "invalidFilter", "8192")


async def test_locations_begin_with_the_public_url(
    running: Running, redis_server: RedisServer, tmp_path: Path
) -> None:
    setting = '[receiver]\npublic_url = "https://scim.example.com/"\n'
    async with running(tmp_path / "clickhouse-scim.toml", redis_server.url, setting) as service:
        scim = service.scim
        base = f"https://scim.example.com/scim/{scim.tenant}/v2"
        ana = await scim.user("ana")
        team = await scim("POST", "/Groups", {"displayName": "Team", "members": [ana]})
        assert team.headers["Location"] == team.json["meta"]["location"]
        assert team.headers["Location"] == f"{base}/Groups/{team.id}"
        assert team.json["members"][0]["$ref"] == f"{base}/Users/{ana}"
        config = await scim("GET", "/ServiceProviderConfig")
        assert config.json["meta"]["location"] == f"{base}/ServiceProviderConfig"
