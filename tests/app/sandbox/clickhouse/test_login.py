"""Who gets in: methods, hosts, deadlines, and how a refusal looks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from asynch.errors import ServerException

if TYPE_CHECKING:
    from tests.app.sandbox.clickhouse.conftest import Sql

REFUSED = 516
BCRYPT = "$2a$04$RWRkheOtIOFndv59MQVaIu1biQhPwK5330kRQEzDCF4P2VhXoa1Ty"
SHA256 = "27042f4e6eca7d0b2a7ee4026df2ecfa51d3339e6d122aa099118ecd8563bad9"
SALTED = "1aa5b636c46f3615265a4521d76a3aa2626a6256d194fd725c2c2e065dd992d9"
DOUBLE_SHA1 = "920018161824b14a1067a69626595e68cb8284cb"

METHODS = {  # how a user is identified, and whether the password "right" opens it
    "by": ("IDENTIFIED BY 'right'", True),
    "plaintext": ("IDENTIFIED WITH plaintext_password BY 'right'", True),
    "sha256": ("IDENTIFIED WITH sha256_password BY 'right'", True),
    "sha256 hash": (f"IDENTIFIED WITH sha256_hash BY '{SHA256.upper()}'", True),
    "sha256 hash and salt": (f"IDENTIFIED WITH sha256_hash BY '{SALTED}' SALT 'salt'", True),
    "double sha1": ("IDENTIFIED WITH double_sha1_password BY 'right'", True),
    "double sha1 hash": (f"IDENTIFIED WITH double_sha1_hash BY '{DOUBLE_SHA1}'", True),
    "scram": ("IDENTIFIED WITH scram_sha256_password BY 'right'", True),
    "bcrypt": ("IDENTIFIED WITH bcrypt_password BY 'right'", True),
    "bcrypt hash": (f"IDENTIFIED WITH bcrypt_hash BY '{BCRYPT}'", True),
    "no password": ("IDENTIFIED WITH no_password", True),
    "not identified": ("NOT IDENTIFIED", True),
    "nothing said": ("", True),
    "quoted": ("IDENTIFIED /* ' */ BY 'ri' -- '\n", False),
    "no authentication": ("IDENTIFIED WITH no_authentication", False),
    "ldap": ("IDENTIFIED WITH ldap SERVER 'corp'", False),
    "kerberos": ("IDENTIFIED WITH kerberos REALM 'CORP'", False),
    "certificate": ("IDENTIFIED WITH ssl_certificate CN 'ana', 'ana2'", False),
    "http": ("IDENTIFIED WITH http SERVER 'auth' SCHEME 'basic'", False),
    "ssh key": ("IDENTIFIED WITH ssh_key BY KEY 'AA' TYPE 'ssh-rsa', KEY 'B' TYPE 'x'", False),
    "several": ("IDENTIFIED WITH plaintext_password BY '1', ldap SERVER 'c', BY 'right'", True),
    "several, none": ("IDENTIFIED WITH plaintext_password BY '1', sha256_password BY '2'", False),
}


async def logs_in(sql: Sql, user: str, password: str = "right") -> bool:
    code = await sql.code("SELECT 1", user=user, password=password)
    assert code in {None, REFUSED}
    return code is None


@pytest.mark.parametrize(("identified", "opens"), METHODS.values(), ids=METHODS.keys())
async def test_a_method_opens_to_its_password_alone(sql: Sql, identified: str, opens: bool) -> None:
    await sql(f"CREATE USER OR REPLACE login_method {identified}")
    assert await logs_in(sql, "login_method") == opens
    if opens and "no_password" not in identified and "BY" in identified:
        assert not await logs_in(sql, "login_method", "wrong")
        assert not await logs_in(sql, "login_method", "")


KINDS = {
    "ldap SERVER 'corp'": ("ldap", '{"server":"corp"}'),
    "kerberos REALM 'R'": ("kerberos", '{"realm":"R"}'),
    "http SERVER 's' SCHEME 'basic'": ("http", "{}"),
    "ssl_certificate CN 'c'": ("ssl_certificate", '{"common_names":["c"]}'),
    "bcrypt_password BY 'x'": ("bcrypt_password", "{}"),
    "scram_sha256_password BY 'x'": ("scram_sha256_password", "{}"),
    "no_authentication": ("no_authentication", "{}"),
}


@pytest.mark.parametrize(("method", "shown"), KINDS.items(), ids=KINDS.keys())
async def test_a_method_is_shown_as_a_server_shows_it(
    sql: Sql, method: str, shown: tuple[str, str]
) -> None:
    await sql(f"CREATE USER OR REPLACE login_shown IDENTIFIED WITH {method}")
    rows = await sql(
        "SELECT auth_type[1], auth_params[1] FROM system.users WHERE name = 'login_shown'"
    )
    assert rows == [shown]


async def test_jwt_is_refused_as_by_the_open_build(sql: Sql) -> None:
    assert await sql.code("CREATE USER login_jwt IDENTIFIED WITH jwt") == 36


CHANGES = {  # statements about `u`, then the passwords that open it
    "new password": (["ALTER USER u IDENTIFIED BY 'new'"], {"new"}),
    "add": (["ALTER USER u ADD IDENTIFIED BY 'new'"], {"old", "new"}),
    "add two": (
        ["ALTER USER u ADD IDENTIFIED WITH plaintext_password BY 'p', sha256_password BY 'q'"],
        {"old", "p", "q"},
    ),
    "reset to new": (
        [
            "ALTER USER u ADD IDENTIFIED BY 'new'",
            "ALTER USER u RESET AUTHENTICATION METHODS TO NEW",
        ],
        {"new"},
    ),
    "renamed and back": (["ALTER USER u RENAME TO u2", "ALTER USER u2 RENAME TO u"], {"old"}),
    "rename in the middle": (
        [
            "ALTER USER u RENAME TO u2",
            "ALTER USER u2 IDENTIFIED BY 'new'",
            "ALTER USER u2 RENAME TO u",
        ],
        {"new"},
    ),
    "made again": (["DROP USER u", "CREATE USER u IDENTIFIED BY 'new'"], {"new"}),
    "replaced": (["CREATE USER OR REPLACE u IDENTIFIED BY 'new'"], {"new"}),
    "exists already": (["CREATE USER IF NOT EXISTS u IDENTIFIED BY 'new'"], {"old"}),
    "other clauses": (["ALTER USER u HOST ANY SETTINGS max_threads = 2"], {"old"}),
    "no method any more": (["ALTER USER u IDENTIFIED WITH no_authentication"], set()),
    "for another": (["EXECUTE AS default ALTER USER u IDENTIFIED BY 'new'"], {"new"}),
    "refused": (["ALTER USER u IDENTIFIED BY 'new' SETTINGS nonsense = 1"], {"old"}),
}


@pytest.mark.parametrize(("statements", "open_to"), CHANGES.values(), ids=CHANGES.keys())
async def test_passwords_follow_what_becomes_of_their_user(
    sql: Sql, statements: list[str], open_to: set[str]
) -> None:
    await sql("CREATE USER OR REPLACE u IDENTIFIED BY 'old'")
    await sql("DROP USER IF EXISTS u2")
    for statement in statements:
        await sql.code(statement)
    tried = {"old", "new", "p", "q", ""}
    assert {word for word in tried if await logs_in(sql, "u", word)} == open_to


async def test_several_users_in_one_statement_have_its_password(sql: Sql) -> None:
    await sql("DROP USER IF EXISTS many1, `many 2`, `many3@h`")
    await sql("CREATE USER many1@'%', `many 2`, many3@'h' IDENTIFIED BY 'right'")
    assert await logs_in(sql, "many1")
    assert await logs_in(sql, "many 2")
    assert not await logs_in(sql, "many3@h")  # its host is h
    assert await sql("SELECT 1 FROM system.users WHERE name = 'many3@h'") == [(1,)]


async def test_a_statement_that_stops_half_way_leaves_working_log_ins(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE half2 IDENTIFIED BY 'before'")
    await sql("DROP USER IF EXISTS half1, half3")
    assert await sql.code("CREATE USER half1, half2, half3 IDENTIFIED BY 'right'") == 493
    assert await logs_in(sql, "half1")
    assert not await logs_in(sql, "half2")
    assert await logs_in(sql, "half2", "before")
    assert not await logs_in(sql, "half3")


HOSTS = {
    "ANY": True,
    "NONE": False,
    "LOCAL": True,
    "IP '127.0.0.1'": True,
    "IP '127.0.0.0/8'": True,
    "IP '::1'": True,
    "IP '10.0.0.0/8', '192.168.0.0/16'": False,
    "NAME 'localhost'": True,
    "NAME 'no-such-host.invalid'": False,
    "REGEXP '^local.*'": True,
    "REGEXP '.*[.]example'": False,
    "LIKE 'local%'": True,
    "LIKE '127.0.%.%'": True,
    "LIKE '10.%'": False,
    "LIKE '%.example'": False,
    "NAME 'no-such-host.invalid', LOCAL": True,
}


@pytest.mark.parametrize(("host", "let_in"), HOSTS.items(), ids=HOSTS.keys())
async def test_only_the_users_hosts_are_let_in(sql: Sql, host: str, let_in: bool) -> None:
    await sql(f"CREATE USER OR REPLACE login_host IDENTIFIED BY 'right' HOST {host}")
    assert await logs_in(sql, "login_host") == let_in


async def test_a_method_ends_at_its_own_deadline(sql: Sql) -> None:
    await sql(
        "CREATE USER OR REPLACE login_until IDENTIFIED WITH plaintext_password BY 'old' "
        "VALID UNTIL '2020-01-01', plaintext_password BY 'new' VALID UNTIL '2090-01-01 00:00:00'"
    )
    assert not await logs_in(sql, "login_until", "old")
    assert await logs_in(sql, "login_until", "new")
    await sql("ALTER USER login_until VALID UNTIL '2020-01-01'")
    assert not await logs_in(sql, "login_until", "new")
    await sql("ALTER USER login_until VALID UNTIL 'infinity'")
    assert await logs_in(sql, "login_until", "old")


async def test_every_refusal_looks_the_same(sql: Sql) -> None:
    for user, clauses in {
        "wrong": "BY 'right'",
        "closed": "WITH no_authentication",
        "elsewhere": "BY '' HOST NONE",
        "expired": "BY '' VALID UNTIL '2020-01-01'",
        "ldap": "WITH ldap SERVER 'x'",
    }.items():
        await sql(f"CREATE USER OR REPLACE same_{user} IDENTIFIED {clauses}")
    texts, took_s = set(), []
    for user in ("wrong", "closed", "elsewhere", "expired", "ldap", "nobody"):
        started = time.monotonic()
        with pytest.raises(ServerException) as refused:
            await sql("SELECT 1", user=f"same_{user}")
        took_s.append(time.monotonic() - started)
        assert refused.value.code == REFUSED
        texts.add(str(refused.value).replace(f"same_{user}", "USER"))
    (text,) = texts
    assert text == (
        "Code: 516.\nDB::Exception: USER: Authentication failed: password is incorrect, "
        "or there is no user with such name."
    )
    assert min(took_s) >= 0.02


async def test_an_unknown_database_is_told_apart_only_after_the_log_in(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE login_database IDENTIFIED BY 'right'")
    assert (
        await sql.code("SELECT 1", user="login_database", password="right", database="nowhere")
        == 81
    )
    assert (
        await sql.code("SELECT 1", user="login_database", password="wrong", database="nowhere")
        == REFUSED
    )


async def test_the_session_starts_in_the_users_database(sql: Sql) -> None:
    await sql("CREATE DATABASE IF NOT EXISTS home")
    await sql("CREATE USER OR REPLACE login_home IDENTIFIED BY 'right' DEFAULT DATABASE home")
    there = await sql("SELECT currentDatabase()", user="login_home", password="right", database="")
    assert there == [("home",)]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP USER default",
        "ALTER USER IF EXISTS default IDENTIFIED BY 'x'",
        "CREATE USER OR REPLACE x, default",
        "GRANT login_role TO x, default",
        "REVOKE ALL ON *.* FROM default",
        "SET DEFAULT ROLE NONE TO default",
        "GRANT login_role TO CURRENT_USER",
        "ALTER SETTINGS PROFILE default SETTINGS max_threads = 1",
        "DROP QUOTA default",
    ],
)
async def test_what_users_xml_holds_cannot_be_changed(sql: Sql, statement: str) -> None:
    await sql("CREATE ROLE IF NOT EXISTS login_role")
    await sql("CREATE USER IF NOT EXISTS x")
    assert await sql.code(statement) == 495


async def test_who_may_not_change_it_is_told_that(sql: Sql) -> None:
    await sql("CREATE USER OR REPLACE login_scoped IDENTIFIED BY 'right'")
    await sql("GRANT ALTER USER ON acme_* TO login_scoped")
    code = await sql.code("ALTER USER default HOST NONE", user="login_scoped", password="right")
    assert code == 497
