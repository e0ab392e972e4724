"""`doctor` on real servers, each with one thing that is wrong with it."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from app.cli.main import main
from app.clock import Clock
from app.config.privileges import parse_privilege
from app.directory.keys import Keys
from app.directory.layout import KEY, LAYOUT
from app.directory.link import connect
from app.directory.tokens import create
from app.sandbox.ports import choose_ports
from workers.access.model import RoleDefinition
from workers.access.statements import ledger_rights, provisioner_grants, quote_identifier
from workers.clickhouse.pool import Endpoint, Pool
from workers.doctor.target import judge_version

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

FILE = """
[redis]
url = "{redis}"
[targets.main]
hosts = ["127.0.0.1:{port}"]
user = "{account}"
password_file = "password"
[tenants.acme]
targets = ["main"]
[tenants.acme.roles.analyst]
grants = ["SELECT ON analytics.*"]
"""
PASSWORD = "o'hara's \\ password"
ROLE = RoleDefinition("analyst", grants=(parse_privilege("SELECT ON analytics.*"),))


@dataclass(slots=True)
class Patient:
    """A configuration whose servers are all well, until a test changes that."""

    folder: Path
    account: str
    redis: str
    port: int
    sql: Callable[[str], Awaitable[None]]

    def write(self, password: str = PASSWORD) -> Path:
        file = self.folder / "clickhouse-scim.toml"
        (self.folder / "password").write_text(password)
        file.write_text(FILE.format(redis=self.redis, port=self.port, account=self.account))
        return file


@pytest.fixture
async def patient(tmp_path: Path, own_redis: RedisServer, clickhouse: ClickHouseServer) -> Patient:
    account = f"doctor_{uuid.uuid4().hex[:8]}"

    async def sql(statement: str) -> None:
        pool = Pool(Endpoint(hosts=((clickhouse.host, clickhouse.port),), user="default"))
        async with pool.session() as session:
            await session.query(statement)
        await pool.close()

    await sql(
        f"CREATE USER {account} IDENTIFIED WITH sha256_password BY 'o\\'hara\\'s \\\\ password'"
    )
    for grant in provisioner_grants(account, [ROLE]):
        await sql(grant)
    link = connect(own_redis.url)
    await create(link, "acme", now_ms=0)
    await link.close()
    return Patient(tmp_path, account, own_redis.url, clickhouse.port, sql)


def run(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run the command in a thread that has no event loop; return its exit code and rows."""
    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(main, ["doctor", "--json", "--config", str(file)]).result()
    printed = capsys.readouterr()
    assert printed.err == ""
    return code, json.loads(printed.out)


def wrong(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in rows if row["status"] != "ok"}


async def test_where_all_is_well_each_check_says_so(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = run(patient.write(), capsys)
    assert (code, wrong(rows)) == (0, {})
    assert {row["check"] for row in rows} >= {
        "redis",
        "redis durable",
        "redis eviction",
        "clock",
        "tokens",
        "target reachable",
        "target version",
        "target abilities",
        "target rights",
    }
    assert all(set(row) == {"check", "subject", "status", "finding", "mend"} for row in rows)


REDIS = {
    "no append-only file": (("appendonly", "no"), "redis durable", "CONFIG SET appendonly yes"),
    "synced each second": (
        ("appendfsync", "everysec"),
        "redis durable",
        "CONFIG SET appendfsync always",
    ),
    "evicting": (
        ("maxmemory-policy", "allkeys-lru"),
        "redis eviction",
        "CONFIG SET maxmemory-policy noeviction",
    ),
}


@pytest.mark.parametrize(("setting", "check", "mend"), REDIS.values(), ids=REDIS.keys())
async def test_a_redis_that_would_forget_is_found_and_the_setting_named(
    patient: Patient,
    setting: tuple[str, str],
    check: str,
    mend: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    link = connect(patient.redis)
    await link.redis.config_set(*setting)
    await link.close()
    code, rows = run(patient.write(), capsys)
    assert code == 1
    assert list(wrong(rows)) == [check]
    assert mend in wrong(rows)[check]["mend"]


async def test_data_of_a_later_version_is_found(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    link = connect(patient.redis)
    await link.redis.set(KEY, LAYOUT + 1)
    await link.close()
    code, rows = run(patient.write(), capsys)
    found = wrong(rows)["redis layout"]
    assert (code, found["status"]) == (1, "fail")
    assert "start that version" in found["mend"]


async def test_a_redis_with_another_password_is_found(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    link = connect(patient.redis)
    await link.redis.config_set("requirepass", "another")
    code, rows = run(patient.write(), capsys)
    await link.close()
    assert code == 1
    assert "password_env" in wrong(rows)["redis"]["mend"]


async def test_a_marker_role_that_is_gone_is_found(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a lane that has brought something onto its target."""
    await patient.sql("DROP ROLE IF EXISTS scim_managed")
    link = connect(patient.redis)
    await link.redis.hset(Keys("acme").lane("lane", "main"), "cursor", "1")  # type: ignore[misc]
    await link.close()
    code, rows = run(patient.write(), capsys)
    assert (code, list(wrong(rows))) == (1, ["marker role"])
    assert wrong(rows)["marker role"]["mend"] == "clickhouse-scim lane resync acme main"


async def test_without_redis_the_targets_are_looked_at_all_the_same(
    patient: Patient, own_redis: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    own_redis.stop()
    code, rows = run(patient.write(), capsys)
    assert code == 1
    assert list(wrong(rows)) == ["redis"]
    assert any(row["check"] == "target rights" for row in rows)


async def test_a_host_that_does_not_answer_is_found(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    patient.port = choose_ports(["nobody"], {}, random.Random())["nobody"]
    code, rows = run(patient.write(), capsys)
    assert code == 1
    assert wrong(rows)["target reachable"]["subject"] == f"main (127.0.0.1:{patient.port})"


async def test_a_wrong_password_is_told_from_a_host_that_is_away_and_not_repeated(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    code, rows = run(patient.write("s3cret-and-wrong"), capsys)
    assert code == 1
    assert list(wrong(rows)) == ["target log-in"]
    assert "s3cret" not in json.dumps(rows)


async def test_a_missing_right_comes_with_the_grant_that_mends_it(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    account = quote_identifier(patient.account)
    await patient.sql(f"REVOKE KILL QUERY ON *.* FROM {account}")
    await patient.sql(f"REVOKE GRANT OPTION FOR SELECT ON analytics.* FROM {account}")
    code, rows = run(patient.write(), capsys)
    mends = [row["mend"] for row in rows if row["status"] == "fail"]
    assert code == 1
    assert len(mends) == 2
    for mend in mends:
        await patient.sql(mend.removesuffix(";"))
    code, rows = run(patient.write(), capsys)
    assert (code, wrong(rows)) == (0, {})


async def test_an_account_that_may_read_no_grants_is_told_that_first(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    account = quote_identifier(patient.account)
    await patient.sql(f"REVOKE SELECT ON system.grants FROM {account}")
    code, rows = run(patient.write(), capsys)
    assert code == 1
    assert (
        wrong(rows)["target rights"]["mend"] == f"GRANT SELECT ON `system`.`grants` TO {account};"
    )


async def test_a_ledger_without_its_tables_is_found_and_migrate_mends_it(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    file = patient.write()
    url = f"clickhouse://default@127.0.0.1:{patient.port}/ledger_{patient.account}"
    file.write_text(file.read_text() + f'[ledger]\nurl = "{url}"\n')
    code, rows = run(file, capsys)
    assert (code, wrong(rows)["ledger"]["mend"]) == (1, "clickhouse-scim migrate")
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["migrate", "--config", str(file)]).result() == 0
    capsys.readouterr()
    code, rows = run(file, capsys)
    assert (code, wrong(rows)) == (0, {})


@pytest.mark.parametrize("lost", ["INSERT", "SELECT"])
async def test_a_right_that_the_ledgers_account_lacks_comes_with_its_grant(
    patient: Patient, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    account, database = f"ledger_{patient.account}", f"audit_{patient.account}"
    url, file = f"clickhouse://{account}@127.0.0.1:{patient.port}/{database}", patient.write()
    file.write_text(file.read_text() + f'[ledger]\nurl = "{url}"\n')
    await patient.sql(f"CREATE DATABASE {database}")
    await patient.sql(f"CREATE USER {account} IDENTIFIED WITH no_password")
    for right in ledger_rights(database):
        await patient.sql(right.statement(account))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(main, ["migrate", "--config", str(file)]).result() == 0
    capsys.readouterr()
    assert wrong(run(file, capsys)[1]) == {}
    await patient.sql(f"REVOKE {lost} ON {database}.* FROM {account}")
    code, rows = run(file, capsys)
    found = wrong(rows)["ledger rights"]
    assert (code, found["mend"]) == (1, f"GRANT {lost} ON `{database}`.* TO `{account}`;")
    await patient.sql(found["mend"])
    assert "ledger rights" not in wrong(run(file, capsys)[1])


async def test_a_token_that_is_about_to_end_is_noted_and_is_no_failure(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    link = connect(patient.redis)
    await link.redis.flushall()
    made = await create(link, "acme", now_ms=Clock().now_ms(), expires_in_s=86400)
    await link.close()
    code, rows = run(patient.write(), capsys)
    assert code == 0
    assert wrong(rows)["tokens"]["status"] == "warn"
    assert f"clickhouse-scim token rotate acme {made.id}" in wrong(rows)["tokens"]["mend"]


@pytest.mark.parametrize(
    ("version", "status"),
    [("24.8.1.1", "fail"), ("24.9.1.1", "ok"), ("26.9.2.1", "ok"), ("a fork", "fail")],
)
def test_a_version_that_is_too_old_is_told(version: str, status: str) -> None:
    assert judge_version("main", version).status.value == status
