"""Whom an access statement names, which secrets it carries, and what of it is written down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sandbox.clickhouse.access_statements import parse_access_statement
from app.sandbox.clickhouse.credentials import Method, opens
from app.sandbox.clickhouse.faults import ServerError
from app.sandbox.clickhouse.tokens import render_name, render_text


def parse(sql: str, caller: str = "me", database: str = "default"):  # type: ignore[no-untyped-def]  # noqa: ANN201
    return parse_access_statement(sql, caller, database)


USERS = {
    "CREATE USER a": ("a",),
    "CREATE USER IF NOT EXISTS a, `b c`, 'd'": ("a", "b c", "d"),
    "CREATE USER OR REPLACE a@'%', b@localhost, c@'h.example'": ("a", "b@localhost", "c@h.example"),
    "ALTER USER IF EXISTS a, b HOST NONE": ("a", "b"),
    "DROP USER IF EXISTS a, b": ("a", "b"),
    "EXECUTE AS x DROP USER a": ("a",),
    "CREATE ROLE a": (),
    "GRANT a TO b": (),
}


@pytest.mark.parametrize(("sql", "users"), USERS.items(), ids=USERS.keys())
def test_the_users_it_names(sql: str, users: tuple[str, ...]) -> None:
    assert parse(sql).users == users


KINDS = {
    "IDENTIFIED WITH no_password": ["no_password"],
    "NOT IDENTIFIED": ["no_password"],
    "IDENTIFIED BY 'x'": ["sha256_password"],
    "IDENTIFIED WITH ldap SERVER 's' VALID UNTIL '2030-01-01' HOST LOCAL": ["ldap"],
    "IDENTIFIED WITH ssl_certificate CN 'a', 'b' SAN 'c', plaintext_password BY 'p'": [
        "ssl_certificate",
        "plaintext_password",
    ],
    "IDENTIFIED WITH bcrypt_password BY 'b' VALID UNTIL '2030-01-01', kerberos REALM 'r', BY 'x'": [
        "bcrypt_password",
        "kerberos",
        "sha256_password",
    ],
    "IDENTIFIED WITH kerberos, http SERVER 's', ssh_key BY KEY 'k' TYPE 't', KEY 'l' TYPE 't'": [
        "kerberos",
        "http",
        "ssh_key",
    ],
}


@pytest.mark.parametrize(("clause", "kinds"), KINDS.items(), ids=KINDS.keys())
def test_the_methods_it_sets(clause: str, kinds: list[str]) -> None:
    methods = parse(f"CREATE USER u {clause} DEFAULT ROLE r SETTINGS a = 1").methods
    assert methods is not None
    assert [method.kind for method in methods] == kinds


@pytest.mark.parametrize(
    "kind", ["sha256_password", "double_sha1_password", "scram_sha256_password", "bcrypt_password"]
)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_no_password_is_passed_on_and_its_hash_opens_to_it(kind: str, password: str) -> None:
    parsed = parse(f"ALTER USER u IDENTIFIED WITH {kind} BY {render_text('~' + password)}")
    (method,) = parsed.methods
    assert "~" not in parsed.sql
    assert opens(method, "~" + password)
    assert not opens(method, password)
    again = parse(parsed.sql)  # what the journal holds says the same once more
    assert (again.methods, again.sql) == (parsed.methods, parsed.sql)


def test_a_hash_is_taken_as_it_is() -> None:
    parsed = parse("CREATE USER u IDENTIFIED WITH sha256_hash BY 'AB' SALT 'S'")
    assert parsed.methods == (Method("sha256_password", "ab", "S"),)
    assert parsed.sql.endswith("sha256_hash BY 'AB' SALT 'S'")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE USER u IDENTIFIED WITH sha256_password BY {x:String}",
        "CREATE USER u IDENTIFIED WITH something_new BY 'x'",
    ],
)
def test_what_it_cannot_read_it_does_not_guess(sql: str) -> None:
    with pytest.raises(ServerError) as refused:
        parse(sql)
    assert refused.value.code == 48


JOURNALS = {  # what is run again in the place of a statement; None: the whole state is kept
    "EXECUTE AS x CREATE ROLE r": "CREATE ROLE r",
    "GRANT a TO b": "GRANT a TO b",
    "GRANT a TO CURRENT_USER, b": "GRANT a TO `me`, b",
    "GRANT a TO currentUser()": "GRANT a TO `me`",
    "EXECUTE AS `it's x` GRANT a TO CURRENT_USER": "GRANT a TO `it's x`",
    "GRANT CURRENT GRANTS ON *.* TO b": None,
    "CREATE ROW POLICY p ON d.t USING a = currentUser() TO b": (
        "CREATE ROW POLICY p ON d.t USING a = currentUser() TO b"
    ),
    "CREATE POLICY p ON d.t USING a = current_user": (
        "CREATE POLICY p ON d.t USING a = current_user"
    ),
    "CREATE ROW POLICY p ON d.t USING a = 1 TO b, currentUser()": (
        "CREATE ROW POLICY p ON d.t USING a = 1 TO b, `me`"
    ),
    "CREATE QUOTA q TO CURRENT_USER": "CREATE QUOTA q TO `me`",
    "CREATE USER a GRANTEES ANY EXCEPT CURRENT_USER": "CREATE USER a GRANTEES ANY EXCEPT `me`",
}


@pytest.mark.parametrize(("sql", "journal"), JOURNALS.items(), ids=JOURNALS.keys())
def test_what_the_journal_keeps(sql: str, journal: str | None) -> None:
    assert parse(sql).journal == journal


def test_a_table_of_another_database_is_kept_as_state() -> None:
    assert parse("GRANT SELECT ON t TO b", database="other").journal is None


READ_ONLY = {
    "DROP USER default": "user `default`",
    "CREATE USER a, default": "user `default`",
    "ALTER SETTINGS PROFILE default SETTINGS a = 1": "settings profile `default`",
    "CREATE QUOTA IF NOT EXISTS default": "quota `default`",
    "GRANT r TO a, default WITH ADMIN OPTION": "user `default`",
    "REVOKE r FROM default": "user `default`",
    "SET DEFAULT ROLE r TO default": "user `default`",
    "GRANT r TO default, to": "user `default`",
    "GRANT to TO default WITH ADMIN OPTION": "user `default`",
    "GRANT r TO `current_user`": None,
    "CREATE USER a DEFAULT ROLE r": None,
    "GRANT default TO a": None,
    "CREATE ROLE default": None,
    "CREATE ROLE r SETTINGS PROFILE 'default'": None,
    "CREATE USER OR REPLACE a, default": "user `default`",
    "DROP PROFILE IF EXISTS readonly": "settings profile `readonly`",
    "DROP USER readonly": None,
    "CREATE QUOTA q FOR INTERVAL 1 hour MAX queries = 1 TO default": None,
    "ALTER USER a SETTINGS PROFILE default": None,
}


@pytest.mark.parametrize(("sql", "entity"), READ_ONLY.items(), ids=READ_ONLY.keys())
def test_what_belongs_to_users_xml(sql: str, entity: str | None) -> None:
    assert parse(sql).read_only == entity


def test_to_the_administrator_the_current_user_is_of_users_xml() -> None:
    assert parse("GRANT r TO CURRENT_USER", caller="default").read_only == "user `default`"
    assert parse("GRANT r TO `current_user`", caller="default").read_only is None


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_is_read_literally(name: str) -> None:
    parsed = parse(f"CREATE USER {render_name(name)} IDENTIFIED BY 'x'")
    assert parsed.users == (name,)
