from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.privileges import (
    NEVER,
    PRIVILEGES,
    Level,
    Privilege,
    PrivilegeError,
    parse_privilege,
    parse_table,
)

READ = (("SELECT", ()),)
GOOD = {
    "database": ("SELECT ON analytics.*", Privilege(READ, "analytics", False, "", True)),
    "table": ("SELECT ON crm.customers", Privilege(READ, "crm", False, "customers", False)),
    "everything": ("SELECT ON *.*", Privilege(READ, "", True, "", True)),
    "databases by prefix": ("SELECT ON logs*.*", Privilege(READ, "logs", True, "", True)),
    "tables by prefix": ("SELECT ON a.log*", Privilege(READ, "a", False, "log", True)),
    "columns": (
        "SELECT(id, country), INSERT ON crm.customers",
        Privilege(
            (("SELECT", ("id", "country")), ("INSERT", ())), "crm", False, "customers", False
        ),
    ),
    "keywords in any case": (
        "select , alter  update(x) oN a.b",
        Privilege((("SELECT", ()), ("ALTER UPDATE", ("x",))), "a", False, "b", False),
    ),
    "camel case": ("DICTGET ON *.*", Privilege((("dictGet", ()),), "", True, "", True)),
    "backticks": (
        r"SELECT(`a``b`) ON `my.db`.`t\`x*`",
        Privilege((("SELECT", ("a`b",)),), "my.db", False, "t`x*", False),
    ),
    "a database called on": ("SELECT ON `ON`.*", Privilege(READ, "ON", False, "", True)),
    "the whole server": (
        "CLUSTER ON *.*",
        Privilege((("CLUSTER", ()),), "", True, "", True),
    ),
}


@pytest.mark.parametrize(("text", "privilege"), GOOD.values(), ids=GOOD.keys())
def test_a_grant_is_read_as_written(text: str, privilege: Privilege) -> None:
    assert parse_privilege(text) == privilege


BAD = {
    "empty": ("", "says not on what"),
    "no object": ("SELECT", "says not on what"),
    "no privilege": ("ON a.b", "names no privilege"),
    "no database": ("SELECT ON customers", "must name database and table"),
    "three parts": ("SELECT ON a.b.c", "must name database and table"),
    "two words": ("SELECT ON a.b c", "must name one database"),
    "star in front": ("SELECT ON *a.b", "must name one database"),
    "table of any database": ("SELECT ON *.b", "takes * for the table"),
    "table of databases by prefix": ("SELECT ON a*.b", "takes * for the table"),
    "grant option": ("SELECT ON a.b WITH GRANT OPTION", "leave WITH GRANT OPTION out"),
    "double quotes": ('SELECT ON "a".b', "can't be read at '\"'"),
    "single quotes": ("SELECT ON 'a'.b", "can't be read at \"'\""),
    "second statement": ("SELECT ON a.b; DROP USER x", "can't be read at ';'"),
    "comment": ("SELECT ON a.b -- x", "can't be read at '-'"),
    "open backtick": ("SELECT ON `a.b", "can't be read at '`'"),
    "empty backticks": ("SELECT ON ``.b", "can't be read at '`'"),
    "newline in a name": ("SELECT ON `a\nb`.c", "unprintable"),
    "open columns": ("SELECT(a ON a.b", "broken list of columns"),
    "empty columns": ("SELECT() ON a.b", "broken list of columns"),
    "columns of no table": ("SELECT(a) ON a.*", "leave the columns out"),
    "columns of a whole-table privilege": ("TRUNCATE(a) ON a.b", "leave the columns out"),
    "trailing comma": ("SELECT, ON a.b", "names no privilege"),
    "missing comma": ("SELECT(a) INSERT ON a.b", "can't be read at 'INSERT'"),
    "database privilege on a table": ("CREATE DATABASE ON a.b", "write ON database.*"),
    "server privilege on a database": ("CLUSTER ON a.*", "write ON *.*"),
    "misspelt": ("SELCT ON a.b", "did you mean SELECT?"),
    "unknown": ("FROBNICATE ON a.b", "no privilege that a role map can hand out"),
    "digit first": ("SELECT ON 1a.b", "can't be read at '1'"),
}


@pytest.mark.parametrize(("text", "reason"), BAD.values(), ids=BAD.keys())
def test_anything_else_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PrivilegeError) as refused:
        parse_privilege(text)
    assert reason in str(refused.value)


DANGEROUS = [
    *("ALL", "all privileges", "ACCESS MANAGEMENT", "ROLE ADMIN", "CREATE USER", "ALTER USER"),
    *("DROP USER", "CREATE ROLE", "DROP ROLE", "ALTER ROLE", "CREATE ROW POLICY", "ALTER QUOTA"),
    *("DROP ROW POLICY", "CREATE SETTINGS PROFILE", "SHOW ACCESS", "SHOW USERS", "SHOW ROLES"),
    *(
        "IMPERSONATE",
        "SET DEFINER",
        "ALLOW SQL SECURITY NONE",
        "ALTER VIEW",
        "ALTER VIEW MODIFY QUERY",
    ),
    *("SYSTEM", "SYSTEM SHUTDOWN", "SYSTEM RELOAD CONFIG", "KILL QUERY", "KILL TRANSACTION"),
    *("SOURCES", "FILE", "URL", "REMOTE", "S3", "MYSQL", "ODBC", "READ", "WRITE"),
    *("NAMED COLLECTION ADMIN", "SHOW NAMED COLLECTIONS SECRETS", "displaySecretsInShowAndSelect"),
    *("CREATE NAMED COLLECTION", "INTROSPECTION", "addressToLine", "BACKUP", "CREATE FUNCTION"),
    *("CREATE", "DROP", "ALTER", "CREATE DICTIONARY", "NONE", "USAGE"),
]


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_role_map_never_hands_out(name: str) -> None:
    with pytest.raises(PrivilegeError, match="can't be handed out by a role map: it "):
        parse_privilege(f"{name} ON *.*")


def test_no_privilege_is_both_handed_out_and_refused() -> None:
    assert not [
        name
        for name in PRIVILEGES
        for pattern, _ in NEVER
        if re.fullmatch(pattern, name, re.IGNORECASE)
    ]


@pytest.mark.parametrize("name", PRIVILEGES)
def test_every_listed_privilege_can_be_granted_on_something(name: str) -> None:
    on = "*.*" if PRIVILEGES[name] is Level.GLOBAL else "a.*"
    assert parse_privilege(f"{name.lower()} ON {on}").access == ((name, ()),)


@given(st.text(min_size=1).filter(str.isprintable))
def test_any_printable_name_survives_backticks(name: str) -> None:
    quoted = "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
    privilege = parse_privilege(f"SELECT({quoted}) ON {quoted}.{quoted}")
    assert (privilege.access[0][1], privilege.database, privilege.table) == ((name,), name, name)


@given(st.text())
def test_any_text_is_a_privilege_or_refused(text: str) -> None:
    with contextlib.suppress(PrivilegeError):
        assert parse_privilege(text).access


def test_a_table_is_database_and_name() -> None:
    assert parse_table("analytics.`or ders`") == ("analytics", "or ders")


@pytest.mark.parametrize("text", ["orders", "a.*", "a*.b", "a.b.c", "a.b; x", ""])
def test_a_table_is_nothing_else(text: str) -> None:
    with pytest.raises(PrivilegeError, match=r"database\.table"):
        parse_table(text)
