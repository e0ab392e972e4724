"""What a request asks for."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.http_request import NamedSession, Request, parse_request


def asked(target: str = "/", method: str = "POST", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return parse_request(method, target, named, query_id="made")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


WISHES: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "nothing": (
        "/",
        {},
        {"user": "", "password": "", "format": "TabSeparated", "query_id": "made", "settings": {}},
    ),
    "query": ("/?query=SELECT%201+%2B+1", {}, {"sql": "SELECT 1 + 1"}),
    "any bytes": ("/?query=%FF", {}, {"sql": "\udcff"}),
    "query in parts": ("/?query=SELECT+&query=1", {}, {"sql": "SELECT 1"}),
    "user in parameters": ("/?user=ana&password=p", {}, {"user": "ana", "password": "p"}),
    "user in headers": (
        "/",
        {"X_ClickHouse_User": "ana", "X_ClickHouse_Key": "p"},
        {"user": "ana", "password": "p"},
    ),
    "user by Basic": (
        "/",
        {"Authorization": basic("ana:p:q é")},
        {"user": "ana", "password": "p:q é"},
    ),
    "settings": (
        "/?max_threads=1&max_threads=2&log_comment=a%26b",
        {},
        {"settings": {"max_threads": "2", "log_comment": "a&b"}},
    ),
    "parameters": ("/?param_x=1&param_param_y=", {}, {"parameters": {"x": "1", "param_y": ""}}),
    "database": ("/?database=db", {}, {"database": "db"}),
    "database by header": ("/?database=db", {"X_ClickHouse_Database": "x"}, {"database": "x"}),
    "format": ("/?default_format=JSON", {}, {"format": "JSON"}),
    "format by header": (
        "/?default_format=JSON",
        {"X_ClickHouse_Format": "CSV"},
        {"format": "CSV"},
    ),
    "query id": ("/?query_id=mine", {}, {"query_id": "mine"}),
    "roles": ("/?role=a&role=b", {}, {"roles": ["a", "b"]}),
    "frames": ("/?compress=1&decompress=true", {}, {"framed": True, "body_framed": True}),
    "codings": (
        "/?enable_http_compression=1",
        {"Accept_Encoding": "br, lz4, zstd;q=0.5", "Content_Encoding": "ZSTD"},
        {"coding": "zstd", "body_coding": "zstd"},
    ),
    "coding not asked for": ("/", {"Accept_Encoding": "gzip"}, {"coding": ""}),
    "coding refused": (
        "/?enable_http_compression=1",
        {"Accept_Encoding": "gzip;q=0, br"},
        {"coding": ""},
    ),
    "no coding": ("/", {"Content_Encoding": "identity"}, {"body_coding": ""}),
    "session": (
        "/?session_id=s&session_timeout=10&session_check=1&close_session=1",
        {},
        {"session": NamedSession(name="s", timeout_s=10, must_exist=True, closes=True)},
    ),
}


@pytest.mark.parametrize(("target", "headers", "wishes"), WISHES.values(), ids=WISHES.keys())
def test_a_request_says(target: str, headers: dict[str, str], wishes: dict[str, Any]) -> None:
    request = asked(target, **headers)
    assert {name: getattr(request, name) for name in wishes} == wishes


@pytest.mark.parametrize(("method", "only"), [("GET", True), ("HEAD", True), ("POST", False)])
def test_a_get_changes_nothing(method: str, only: bool) -> None:
    assert asked(method=method).query("SELECT 1").only_reads is only


def test_every_setting_of_a_url_is_important() -> None:
    assert asked("/?no_such=1").query("SELECT 1").important == {"no_such"}


REFUSALS = {
    "two ways in": ("/?user=a", {"Authorization": basic("a:b")}, 516),
    "headers and parameters": ("/?password=a", {"X_ClickHouse_User": "a"}, 516),
    "another scheme": ("/", {"Authorization": "Bearer x"}, 516),
    "unreadable": ("/", {"Authorization": "Basic !!!"}, 516),
    "unknown coding": ("/", {"Content_Encoding": "br"}, 48),
    "a form": ("/", {"Content_Type": "multipart/form-data; boundary=x"}, 48),
    "no time": ("/?session_id=s&session_timeout=soon", {}, 374),
    "too long": ("/?session_id=s&session_timeout=3601", {}, 374),
    "much too long": ("/?session_id=s&session_timeout=" + "9" * 5000, {}, 374),
    "neither 0 nor 1": ("/?compress=perhaps", {}, 36),
    "too many parameters": ("/?" + "a=1&" * 10_001, {}, 36),
}


@pytest.mark.parametrize(("target", "headers", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_server_refuses(target: str, headers: dict[str, str], code: int) -> None:
    with pytest.raises(ServerError) as refused:
        asked(target, **headers)
    assert refused.value.code == code


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(asked("/?user=a&password=secret"))
