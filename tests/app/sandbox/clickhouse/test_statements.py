"""What each statement is for the server."""

from __future__ import annotations

import pytest

from app.sandbox.clickhouse.statements import Use, parse_statement

USES = {
    "SELECT 1": Use.SELECT,
    "(SELECT 1)": Use.SELECT,
    "/* x */ with 1 AS a select a": Use.SELECT,
    "FROM t SELECT a": Use.SELECT,
    "WITH 1 AS a INSERT INTO t SELECT a": Use.OTHER,
    "INSERT INTO t SELECT 1": Use.OTHER,
    "INSERT INTO t (SELECT 1)": Use.OTHER,
    "INSERT INTO t (a) VALUES (1)": Use.OTHER,
    "INSERT INTO t FORMAT JSONEachRow {}": Use.OTHER,
    "INSERT INTO t (a) VALUES": Use.INSERT_DATA,
    "insert into table db.t format Native": Use.INSERT_DATA,
    "INSERT INTO FUNCTION file('x', 'TSV') (a) VALUES;": Use.INSERT_DATA,
    "CREATE USER u": Use.ACCESS,
    "CREATE USER IF NOT EXISTS u": Use.ACCESS,
    "CREATE ROLE OR REPLACE r": Use.ACCESS,
    "ALTER SETTINGS PROFILE p SETTINGS a = 1": Use.ACCESS,
    "DROP PROFILE p": Use.ACCESS,
    "CREATE ROW POLICY p ON t USING 1": Use.ACCESS,
    "CREATE POLICY p ON t USING 1": Use.ACCESS,
    "DROP QUOTA q": Use.ACCESS,
    "MOVE USER u TO local_directory": Use.ACCESS,
    "GRANT a TO b": Use.ACCESS,
    "revoke ALL FROM b": Use.ACCESS,
    "SET DEFAULT ROLE ALL TO u": Use.ACCESS,
    "EXECUTE AS u GRANT a TO b": Use.ACCESS,
    "EXECUTE AS u": Use.SETTINGS,
    "EXECUTE AS u SELECT 1": Use.SETTINGS,
    "SET ROLE r": Use.SETTINGS,
    "SET max_threads = 1": Use.SETTINGS,
    "USE db": Use.USE,
    "KILL QUERY WHERE 1": Use.KILL,
    "CREATE TABLE user (a Int8) ENGINE = Memory": Use.OTHER,
    "ALTER TABLE t ADD COLUMN role Int8": Use.OTHER,
    "DROP TABLE user": Use.OTHER,
    "SHOW GRANTS": Use.OTHER,
    "CHECK GRANT SELECT ON t": Use.OTHER,
}


@pytest.mark.parametrize(("sql", "use"), USES.items(), ids=USES.keys())
def test_a_statement_is_told_by_its_first_words(sql: str, use: Use) -> None:
    assert parse_statement(sql).use is use


FORMATS = {
    "SELECT 1 FORMAT TSV": "SELECT 1 ",
    "SELECT 1 FORMAT TSV SETTINGS a = 1;": "SELECT 1  SETTINGS a = 1",
    "SHOW TABLES format `Pretty`": "SHOW TABLES ",
    "SELECT a AS FORMAT FROM t": "SELECT a AS FORMAT FROM t",
    "SELECT format(a, b)": "SELECT format(a, b)",
    "SELECT 'x FORMAT TSV'": "SELECT 'x FORMAT TSV'",
    "SELECT (SELECT 1 FORMAT TSV)": "SELECT (SELECT 1 FORMAT TSV)",
}


@pytest.mark.parametrize(("sql", "sent"), FORMATS.items(), ids=FORMATS.keys())
def test_the_format_is_the_clients_business(sql: str, sent: str) -> None:
    assert parse_statement(sql).sql == sent


INSERTS = {  # text: head, target, columns, settings
    "INSERT INTO t VALUES": ("INSERT INTO t", "t", "", ""),
    "INSERT INTO `a b`.t (x, `y z`) VALUES": (
        "INSERT INTO `a b`.t (x, `y z`)",
        "`a b`.t",
        "(x, `y z`)",
        "",
    ),
    "INSERT INTO TABLE t (* EXCEPT(a)) SETTINGS b = 1, c = 'VALUES' FORMAT Native": (
        "INSERT INTO TABLE t (* EXCEPT(a))",
        "t",
        "(* EXCEPT(a))",
        "SETTINGS b = 1, c = 'VALUES'",
    ),
    "INSERT INTO FUNCTION remote('h', db.t) (a) VALUES": (
        "INSERT INTO FUNCTION remote('h', db.t) (a)",
        "FUNCTION remote('h', db.t)",
        "(a)",
        "",
    ),
}


@pytest.mark.parametrize(("sql", "parts"), INSERTS.items(), ids=INSERTS.keys())
def test_an_insert_is_taken_apart(sql: str, parts: tuple[str, str, str, str]) -> None:
    statement = parse_statement(sql)
    assert (statement.sql, statement.target, statement.columns, statement.settings) == parts


@pytest.mark.parametrize(
    ("columns", "names"),
    [("(a, `b c`)", ("a", "b c")), ("(* EXCEPT(a))", None), ("", ()), ("(a b)", None)],
)
def test_a_plain_list_of_columns_is_read(columns: str, names: tuple[str, ...] | None) -> None:
    assert parse_statement(f"INSERT INTO t {columns} VALUES").column_names == names


@pytest.mark.parametrize("sql", ["INSERT", "INSERT INTO", "INSERT INTO t (", "INSERT INTO a."])
def test_half_an_insert_is_left_to_the_engine_to_refuse(sql: str) -> None:
    assert parse_statement(sql).use is Use.OTHER
