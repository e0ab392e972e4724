from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.cli.commands.token import SCOPES
from app.cli.main import main
from app.directory import tokens
from app.directory.link import Link
from app.directory.tokens import TokenRecord, authenticate, parse_authorization

if TYPE_CHECKING:
    from tests.app.cli.conftest import Cli
    from tests.conftest import RedisServer

NOW_S = 1_900_000_000


async def admitted(link: Link, tenant: str, token: str, after_s: float = 0.0) -> TokenRecord | None:
    """Return the record behind a token if the receiver would let it in `after_s` from now."""
    credential = parse_authorization(f"Bearer {token}")
    assert credential is not None
    return await authenticate(link, tenant, credential, int((time.time() + after_s) * 1000))


async def test_a_created_token_is_admitted_as_bearer_and_as_basic(cli: Cli, link: Link) -> None:
    made = cli("token", "create", cli.tenant, "--json").json
    assert made.keys() == {"id", "token", "secret", "scopes", "expires_at"}
    assert (made["scopes"], made["expires_at"]) == (["scim"], None)
    assert await admitted(link, cli.tenant, made["token"]) is not None
    pair = base64.b64encode(f"{made['id']}:{made['secret']}".encode()).decode()
    basic = parse_authorization(f"Basic {pair}")
    assert basic is not None
    assert await authenticate(link, cli.tenant, basic, NOW_S) is not None


async def test_a_token_is_of_one_tenant_only(cli: Cli, link: Link) -> None:
    made = cli("token", "create", cli.tenant, "--json").json
    assert await admitted(link, cli.other, made["token"]) is None


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("30d", 30 * 86400), ("24h", 86400), ("15m", 900), ("90s", 90), ("90", 90)],
)
async def test_a_token_ends_after_the_given_time(
    given: str, seconds: int, cli: Cli, link: Link
) -> None:
    made = cli("token", "create", cli.tenant, "--expires-in", given, "--json").json
    ends = datetime.fromisoformat(made["expires_at"]).timestamp()
    assert ends == pytest.approx(time.time() + seconds, abs=5)
    assert await admitted(link, cli.tenant, made["token"], seconds - 5) is not None
    assert await admitted(link, cli.tenant, made["token"], seconds + 5) is None


WRONG_TIMES = {
    "no number": ("soon", "'soon' is no length of time; write 30d, 24h, 15m or seconds, or never"),
    "nothing": ("0", "0 is not between 1 s and 100 years"),
    "too long": ("99999d", "99999d is not between 1 s and 100 years"),
    "negative": ("-1", "'-1' is no length of time"),
}


@pytest.mark.parametrize(("given", "why"), WRONG_TIMES.values(), ids=WRONG_TIMES.keys())
def test_a_time_that_is_none_is_wrong_usage(given: str, why: str, cli: Cli) -> None:
    ran = cli("token", "create", cli.tenant, f"--expires-in={given}")
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert why in ran.err


def test_scopes_can_be_given_several_times_and_count_once(cli: Cli) -> None:
    scopes = ("--scope", "read", "--scope", "ops", "--scope", "read")
    made = cli("token", "create", cli.tenant, *scopes, "--json").json
    assert made["scopes"] == ["read", "ops"]
    assert cli("token", "create", cli.tenant, "--scope", "root").code == 2


def test_the_scopes_are_those_that_the_receiver_knows() -> None:
    assert SCOPES == tokens.SCOPES


def test_the_text_of_create_shows_the_token_and_says_that_it_is_the_only_time(cli: Cli) -> None:
    ran = cli("token", "create", cli.tenant)
    fields = dict(line.split(maxsplit=1) for line in ran.out.splitlines()[:-1])
    assert fields["token"].startswith("chscim_")
    assert fields["expires_at"] == "never"
    assert "this once" in ran.out.splitlines()[-1]


def test_a_list_has_every_token_and_no_secret(cli: Cli) -> None:
    assert cli("token", "list", cli.tenant, "--json").json == []
    assert "make one" in cli("token", "list", cli.tenant).out
    first = cli("token", "create", cli.tenant, "--scope", "read", "--json").json
    second = cli("token", "create", cli.tenant, "--expires-in", "1d", "--json").json
    ran = cli("token", "list", cli.tenant, "--json")
    assert [row["id"] for row in ran.json] == [first["id"], second["id"]]
    assert ran.json[0].keys() == {
        "id",
        "state",
        "scopes",
        "created_at",
        "expires_at",
        "last_used_at",
        "networks",
        "replaced_by",
    }
    assert ran.json[0]["scopes"] == ["read"]
    assert ran.json[1]["expires_at"] == second["expires_at"]
    table = cli("token", "list", cli.tenant).out
    assert first["id"] in table
    for made in (first, second):
        assert made["secret"] not in ran.out + table


async def test_an_expired_token_is_listed_as_such(cli: Cli, link: Link) -> None:
    await tokens.create(link, cli.tenant, now_ms=1000, expires_in_s=60)
    (row,) = cli("token", "list", cli.tenant, "--json").json
    assert (row["state"], row["expires_at"]) == ("expired", "1970-01-01T00:01:01.000Z")


async def test_a_rotated_token_goes_on_for_the_overlap(cli: Cli, link: Link) -> None:
    old = cli("token", "create", cli.tenant, "--scope", "read", "--json").json
    new = cli("token", "rotate", cli.tenant, old["id"], "--overlap", "1h", "--json").json
    assert new.keys() == old.keys()
    assert (new["scopes"], new["expires_at"]) == (["read"], None)
    assert new["id"] != old["id"]
    assert await admitted(link, cli.tenant, new["token"], 7200) is not None
    assert await admitted(link, cli.tenant, old["token"], 3500) is not None
    assert await admitted(link, cli.tenant, old["token"], 3700) is None


async def test_no_overlap_ends_the_old_token_at_once(cli: Cli, link: Link) -> None:
    old = cli("token", "create", cli.tenant, "--json").json
    new = cli("token", "rotate", cli.tenant, old["id"], "--overlap", "0", "--json").json
    assert await admitted(link, cli.tenant, old["token"]) is None
    assert [row["id"] for row in cli("token", "list", cli.tenant, "--json").json] == [new["id"]]


async def test_a_rotation_prolongs_nothing_but_keeps_the_length_of_life(
    cli: Cli, link: Link
) -> None:
    old = cli("token", "create", cli.tenant, "--expires-in", "1h", "--json").json
    new = cli("token", "rotate", cli.tenant, old["id"], "--overlap", "30d", "--json").json
    assert await admitted(link, cli.tenant, old["token"], 3700) is None
    assert await admitted(link, cli.tenant, new["token"], 3500) is not None
    assert await admitted(link, cli.tenant, new["token"], 3700) is None


async def test_a_token_revoked_during_its_rotation_stays_revoked(cli: Cli, link: Link) -> None:
    old = cli("token", "create", cli.tenant, "--json").json
    assert await tokens.revoke(link, cli.tenant, old["id"])
    assert not await tokens.end_at(link, cli.tenant, old["id"], int(time.time() * 1000) + 60_000)
    assert cli("token", "list", cli.tenant, "--json").json == []


async def test_a_revoked_token_is_refused(cli: Cli, link: Link) -> None:
    made = cli("token", "create", cli.tenant, "--json").json
    ran = cli("token", "revoke", cli.tenant, made["id"])
    assert (ran.code, ran.err) == (0, "")
    assert await admitted(link, cli.tenant, made["token"]) is None
    again = cli("token", "revoke", cli.tenant, made["id"])
    assert (again.code, again.out, again.err.count("\n")) == (1, "", 1)
    assert f"clickhouse-scim token list {cli.tenant}" in again.err


def test_a_token_that_there_is_not_cannot_be_rotated_and_nothing_is_made(cli: Cli) -> None:
    ran = cli("token", "rotate", cli.tenant, "0123456789ab", "--json")
    assert (ran.code, ran.out) == (1, "")
    assert cli("token", "list", cli.tenant, "--json").json == []


def test_a_tenant_that_there_is_not_is_wrong_usage_with_the_one_that_was_meant(cli: Cli) -> None:
    ran = cli("token", "create", cli.tenant[:-1])
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"there is no tenant '{cli.tenant[:-1]}'; did you mean {cli.tenant}" in ran.err


def test_the_program_in_a_process_of_its_own_prints_one_object(cli: Cli) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "app.cli.main", "token", "create", cli.tenant, "--json"],
        check=True,
        capture_output=True,
        text=True,
        env={"CLICKHOUSE_SCIM_CONFIG": str(cli.config)},
    )
    assert json.loads(made.stdout)["token"].startswith("chscim_")
    assert made.stderr == ""


def test_without_redis_it_says_which_one_is_missing(
    tmp_path: Path, own_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    own_redis.stop()
    file = tmp_path / "x.toml"
    file.write_text(
        f'[redis]\nurl = "{own_redis.url}"\n[targets.main]\nhosts = ["h:9000"]\n'
        '[tenants.acme]\ntargets = ["main"]\n'
    )
    assert main(["token", "list", "acme", "--config", str(file)]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert f"see that the one at {own_redis.url} runs" in printed.err


def test_a_third_active_token_is_refused_and_a_rotation_is_not(cli: Cli) -> None:
    first = cli("token", "create", cli.tenant, "--json").json
    cli("token", "create", cli.tenant)
    refused = cli("token", "create", cli.tenant)
    assert refused.code == 1
    assert "rotate or revoke one of them" in refused.err
    cli("token", "rotate", cli.tenant, first["id"])
    states = [row["state"] for row in cli("token", "list", cli.tenant, "--json").json]
    assert states == ["replaced", "valid", "valid"]


def test_networks_of_a_token_are_checked_and_kept_by_its_successor(cli: Cli) -> None:
    made = cli("token", "create", cli.tenant, "--network", "10.0.0.0/8", "--json").json
    cli("token", "rotate", cli.tenant, made["id"], "--overlap", "0")
    (row,) = cli("token", "list", cli.tenant, "--json").json
    assert row["networks"] == ["10.0.0.0/8"]
    refused = cli("token", "create", cli.tenant, "--network", "10.0.0.1/8")
    assert refused.code == 2
    assert "is no network" in refused.err
