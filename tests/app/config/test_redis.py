"""What `[redis]` may say: one server, several, Sentinels, a cluster; and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config.load import load
from app.config.redis import Address, parse_url
from app.errors import ConfigError

REST = '\n[targets.main]\nhosts = ["127.0.0.1:9000"]\n[tenants.acme]\ntargets = ["main"]\n'

ADDRESSES = {
    "redis://a": Address("plain", (("a", 6379),), "", "redis://a:6379/0", "a:6379/0"),
    "rediss://scim@A.example:7000/2": Address(
        "plain",
        (("a.example", 7000),),
        "",
        "rediss://scim@a.example:7000/2",
        "a.example:7000/2",
    ),
    "redis://[::1]:6380/0?ssl_check_hostname=no": Address(
        "plain",
        (("::1", 6380),),
        "",
        "redis://[::1]:6380/0?ssl_check_hostname=no",
        "[::1]:6380/0",
    ),
    "unix:///run/redis.sock?db=1": Address(
        "plain", (), "", "unix:///run/redis.sock?db=1", "/run/redis.sock"
    ),
    "redis+sentinel://s1,s2:5000/main": Address(
        "sentinel", (("s1", 26379), ("s2", 5000)), "main", "redis://s1:26379/0", "main/0"
    ),
    "rediss+sentinel://s1/main/3": Address(
        "sentinel", (("s1", 26379),), "main", "rediss://s1:26379/3", "main/3"
    ),
    "redis+cluster://n1:1,n2": Address(
        "cluster", (("n1", 1), ("n2", 6379)), "", "redis://n1:1/0", "cluster of n1:1"
    ),
}


@pytest.mark.parametrize(("url", "address"), ADDRESSES.items(), ids=ADDRESSES.keys())
def test_what_a_url_says(url: str, address: Address) -> None:
    assert parse_url(url) == address


MISTAKES = {
    "another scheme": ('url = "http://x"', "redis.url: must begin with redis://"),
    "nothing behind it": ('url = "redis://"', "redis.url: must begin with redis://"),
    "several without a cluster": ('url = "redis://a,b"', "redis.url: names several hosts"),
    "no service": ('url = "redis+sentinel://s1"', "redis.url: names no service"),
    "no database": ('url = "redis://a/first"', "redis.url: names no database"),
    "a database of a cluster": (
        'url = "redis+cluster://a/1"\nqueue = {url = "redis://q"}',
        "has but",
    ),
    "a password": ('url = "redis+sentinel://:hunter2@s1/main"', "redis.url: holds a password"),
    "a password of a socket": ('url = "unix:///s?password=hunter2"', "holds a password, which"),
    "one and several": (
        'url = "redis://a"\nurls = ["redis://b"]',
        "redis.urls: can't stand beside",
    ),
    "none of several": ("urls = []", "redis.urls: must have at least one entry"),
    "one twice": ('urls = ["redis://a", "rediss://a:6379"]', "redis.urls: names a:6379/0 twice"),
    "a cluster of several": ('urls = ["redis+cluster://a"]', "redis.urls[0]: is a cluster"),
    "a cluster without a queue": ('url = "redis+cluster://a"', "redis.queue: is missing"),
    "a queue that is a cluster": (
        'url = "redis://a"\nqueue = {url = "redis+cluster://b"}',
        "redis.queue.url: is a cluster",
    ),
    "a queue's password": (
        'url = "redis://a"\nqueue = {url = "redis://b", password = "hunter2"}',
        "redis.queue.password: never stands in this file",
    ),
    "a Sentinel's password that is not there": (
        'url = "redis://a"\n[redis.sentinel]\npassword_env = "NOWHERE"',
        "redis.sentinel.password_env: environment variable NOWHERE is not set",
    ),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_under_its_key_and_without_a_secret(
    tmp_path: Path, text: str, line: str
) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(f"[redis]\n{text}{REST}")
    with pytest.raises(ConfigError) as told:
        load(file, {})
    assert line in str(told.value)
    assert "hunter2" not in str(told.value)


def test_each_password_goes_where_it_belongs(tmp_path: Path) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    (tmp_path / "queue").write_text("q\n")
    file.write_text(
        '[redis]\nurls = ["redis://a", "redis://b"]\npassword_env = "MAIN"\n'
        '[redis.sentinel]\npassword_env = "WATCH"\n'
        f'[redis.queue]\nurl = "redis://q"\npassword_file = "queue"\n{REST}'
    )
    redis = load(file, {"MAIN": "m", "WATCH": "w"}).redis
    assert redis.sentinel is not None
    assert redis.queue is not None
    assert (redis.secret(), redis.sentinel.secret(), redis.queue.secret()) == ("m", "w", "q")
    assert redis.places == ("redis://a", "redis://b")


def test_a_variable_can_name_the_list(tmp_path: Path) -> None:
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(f'[redis]\nurls = ["redis://a"]\n{REST}')
    environ = {"CLICKHOUSE_SCIM__REDIS__URLS": '["redis://b", "redis://c"]'}
    assert load(file, environ).redis.places == ("redis://b", "redis://c")
