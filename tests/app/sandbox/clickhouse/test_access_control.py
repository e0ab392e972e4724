"""Access control as ClickHouse's own: what the upstream project's tests say of it, in short.

A case is a story: what each step's statement, run by the administrator or by the user before the
`>`, is answered. Each step has a connection of its own. Names of a story are its own.

With CLICKHOUSE_URL the stories are put to that server instead, which should be the newest release
and empty.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from app.sandbox.session import parse_address
from tests.app.sandbox.clickhouse.conftest import Sql

Step = str | tuple[str, int] | tuple[str, list[Any]]

DENIED, NO_USER, NO_ROLE, EXISTS, SYNTAX, BAD = 497, 192, 511, 493, 62, 36

STORIES: dict[str, list[Step]] = {
    "a role gives what it has to whoever has it": [
        "CREATE USER a1; CREATE ROLE r1; GRANT SELECT ON default.ac TO r1",
        ("a1> SELECT * FROM ac", DENIED),
        "GRANT r1 TO a1",
        ("a1> SELECT * FROM ac", [(1,)]),
        "REVOKE r1 FROM a1",
        ("a1> SELECT * FROM ac", DENIED),
    ],
    "a role gives its rights through roles": [
        "CREATE USER a2; CREATE ROLE r2, r2b; GRANT SELECT ON default.ac TO r2",
        "GRANT r2 TO r2b; GRANT r2b TO a2",
        ("a2> SELECT * FROM ac", [(1,)]),
        ("SHOW GRANTS FOR r2b", [("GRANT r2 TO r2b",)]),
        "DROP ROLE r2",
        ("a2> SELECT * FROM ac", DENIED),
        ("SHOW GRANTS FOR r2b", []),
    ],
    "admin option lets a grantee hand a role on": [
        "CREATE USER a3, b3; CREATE ROLE r3; GRANT r3 TO a3",
        ("a3> GRANT r3 TO b3", DENIED),
        "GRANT r3 TO a3 WITH ADMIN OPTION",
        "a3> GRANT r3 TO b3",
        ("SHOW GRANTS FOR b3", [("GRANT r3 TO b3",)]),
        "REVOKE ADMIN OPTION FOR r3 FROM a3",
        ("SHOW GRANTS FOR a3", [("GRANT r3 TO a3",)]),
        ("a3> REVOKE r3 FROM b3", DENIED),
    ],
    "grant option lets a grantee hand a right on, and no more": [
        "CREATE USER a4, b4; GRANT SELECT ON default.ac TO a4 WITH GRANT OPTION",
        "a4> GRANT SELECT(x) ON default.ac TO b4",
        ("b4> SELECT x FROM ac", [(1,)]),
        ("a4> GRANT SELECT ON default.* TO b4", DENIED),
        "REVOKE GRANT OPTION FOR SELECT ON default.ac FROM a4",
        ("a4> GRANT SELECT ON default.ac TO b4", DENIED),
        ("SHOW GRANTS FOR a4", [("GRANT SELECT ON default.ac TO a4",)]),
    ],
    "a revoke leaves out a part": [
        "CREATE ROLE r5; GRANT SELECT ON *.* TO r5; REVOKE SELECT ON sec.* FROM r5",
        "GRANT SELECT(a) ON sec.t TO r5",
        (
            "SHOW GRANTS FOR r5",
            [
                ("GRANT SELECT ON *.* TO r5",),
                ("REVOKE SELECT ON sec.* FROM r5",),
                ("GRANT SELECT(a) ON sec.t TO r5",),
            ],
        ),
        (
            (
                "SELECT database, table, column, is_partial_revoke FROM system.grants "
                "WHERE role_name = 'r5'"
            ),
            [(None, None, None, 0), ("sec", None, None, 1), ("sec", "t", "a", 0)],
        ),
    ],
    "with replace option replaces what it is about": [
        "CREATE USER a6; CREATE ROLE r6, r6b; GRANT SELECT ON d.* TO a6; GRANT r6 TO a6",
        "GRANT INSERT ON d.* TO a6 WITH REPLACE OPTION",
        ("SHOW GRANTS FOR a6", [("GRANT INSERT ON d.* TO a6",), ("GRANT r6 TO a6",)]),
        "GRANT r6b TO a6 WITH REPLACE OPTION",
        ("SHOW GRANTS FOR a6", [("GRANT INSERT ON d.* TO a6",), ("GRANT r6b TO a6",)]),
        "GRANT NONE ON *.* TO a6 WITH REPLACE OPTION; GRANT NONE TO a6 WITH REPLACE OPTION",
        ("SHOW GRANTS FOR a6", []),
    ],
    "current grants are what the grantor may hand on": [
        "CREATE USER a7, b7; GRANT SELECT, INSERT ON d.* TO a7 WITH GRANT OPTION",
        "GRANT ALTER ON d.* TO a7",
        "a7> GRANT CURRENT GRANTS ON d.* TO b7",
        ("SHOW GRANTS FOR b7", [("GRANT SELECT, INSERT ON d.* TO b7",)]),
        "REVOKE ALL ON *.* FROM b7",
        "a7> GRANT CURRENT GRANTS(SELECT ON d.*) TO b7",
        ("SHOW GRANTS FOR b7", [("GRANT SELECT ON d.* TO b7",)]),
    ],
    "grants by prefix": [
        "CREATE USER a8; GRANT SELECT ON acx*.* TO a8; GRANT SELECT ON default.ac* TO a8",
        ("a8> SELECT * FROM ac", [(1,)]),
        (
            "SHOW GRANTS FOR a8",
            [("GRANT SELECT ON acx*.* TO a8",), ("GRANT SELECT ON default.ac* TO a8",)],
        ),
        "REVOKE SELECT ON default.ac FROM a8",
        ("a8> SELECT * FROM ac", DENIED),
    ],
    "default roles": [
        "CREATE USER a9; CREATE ROLE r9, r9b; GRANT r9, r9b TO a9; SET DEFAULT ROLE r9 TO a9",
        ("a9> SELECT role_name FROM system.current_roles", [("r9",)]),
        ("a9> SELECT arraySort(defaultRoles()), currentRoles()", [(["r9"], ["r9"])]),
        ("SHOW CREATE USER a9", [("CREATE USER a9 IDENTIFIED WITH no_password DEFAULT ROLE r9",)]),
        ("SET DEFAULT ROLE r9c TO a9", NO_ROLE),
        "CREATE ROLE r9c",
        ("SET DEFAULT ROLE r9c TO a9", 512),
        "SET DEFAULT ROLE ALL EXCEPT r9 TO a9",
        ("a9> SELECT role_name FROM system.enabled_roles", [("r9b",)]),
        "SET DEFAULT ROLE NONE TO a9",
        ("a9> SELECT count() FROM system.current_roles", [(0,)]),
    ],
    "default role of a new user is granted": [
        "CREATE ROLE r10; CREATE USER a10 DEFAULT ROLE r10",
        ("SHOW GRANTS FOR a10", [("GRANT r10 TO a10",)]),
        "REVOKE r10 FROM a10",
        (
            "SHOW CREATE USER a10",
            [("CREATE USER a10 IDENTIFIED WITH no_password DEFAULT ROLE NONE",)],
        ),
    ],
    "grantees": [
        "CREATE USER a11, b11, c11; ALTER USER a11 GRANTEES b11",
        "GRANT SELECT ON default.ac TO a11 WITH GRANT OPTION",
        "a11> GRANT SELECT ON default.ac TO b11",
        ("a11> GRANT SELECT ON default.ac TO c11", DENIED),
        "ALTER USER a11 GRANTEES ANY EXCEPT b11",
        ("a11> GRANT SELECT ON default.ac TO b11", DENIED),
        (
            "SHOW CREATE USER a11",
            [("CREATE USER a11 IDENTIFIED WITH no_password GRANTEES ANY EXCEPT b11",)],
        ),
    ],
    "several names in one statement": [
        "CREATE USER a12, b12",
        ("CREATE USER c12, b12, d12", EXISTS),
        (
            "SELECT name FROM system.users WHERE name LIKE '_12' ORDER BY 1",
            [("a12",), ("b12",), ("c12",)],
        ),
        ("DROP USER a12, nobody12", NO_USER),
        "DROP USER IF EXISTS a12, nobody12",
        ("GRANT SELECT ON d.t TO b12, nobody12", NO_ROLE),
        ("SHOW GRANTS FOR b12", []),
        ("ALTER USER b12, nobody12 HOST NONE", NO_USER),
    ],
    "renaming": [
        "CREATE USER a13; CREATE ROLE r13; GRANT r13 TO a13; ALTER USER a13 RENAME TO b13",
        ("SHOW GRANTS FOR b13", [("GRANT r13 TO b13",)]),
        ("SHOW CREATE USER a13", NO_USER),
        "ALTER ROLE r13 RENAME TO q13",
        ("SHOW GRANTS FOR b13", [("GRANT q13 TO b13",)]),
        "CREATE USER c13",
        ("ALTER USER b13 RENAME TO c13", EXISTS),
    ],
    "if exists, if not exists, or replace": [
        "CREATE USER a14 HOST LOCAL; CREATE USER IF NOT EXISTS a14",
        ("SHOW CREATE USER a14", [("CREATE USER a14 IDENTIFIED WITH no_password HOST LOCAL",)]),
        "CREATE USER OR REPLACE a14",
        ("SHOW CREATE USER a14", [("CREATE USER a14 IDENTIFIED WITH no_password",)]),
        ("CREATE USER a14", EXISTS),
        ("ALTER USER b14 HOST NONE", NO_USER),
        "ALTER USER IF EXISTS b14 HOST NONE; DROP ROLE IF EXISTS r14",
        ("DROP ROLE r14", NO_ROLE),
        ("SHOW CREATE ROLE r14", NO_ROLE),
        ("SHOW GRANTS FOR r14", NO_ROLE),
    ],
    "hosts are shown in one order": [
        "CREATE USER a15 HOST LIKE '%.b.c', REGEXP '.*x', NAME 'n.o', IP '10.0.0.0/8', LOCAL",
        (
            "SHOW CREATE USER a15",
            [
                (
                    (
                        "CREATE USER a15 IDENTIFIED WITH no_password HOST LOCAL, IP '10.0.0.0/8', "
                        "NAME 'n.o', REGEXP '.*x', LIKE '%.b.c'"
                    ),
                )
            ],
        ),
        "ALTER USER a15 DROP HOST LOCAL; ALTER USER a15 ADD HOST IP '::1'",
        "ALTER USER a15 HOST ANY",
        ("SHOW CREATE USER a15", [("CREATE USER a15 IDENTIFIED WITH no_password",)]),
        ("CREATE USER b15 HOST IP 'x'", 1000),
    ],
    "methods that do not go together": [
        ("CREATE USER a16 IDENTIFIED WITH plaintext_password BY '1', no_password", BAD),
        ("CREATE USER a16 IDENTIFIED WITH BY '1'", SYNTAX),
        ("CREATE USER a16 IDENTIFIED plaintext_password BY '1'", SYNTAX),
        ("CREATE USER a16 IDENTIFIED sha256_password BY '1'", SYNTAX),
        ("CREATE USER a16 IDENTIFIED BY '1', IDENTIFIED BY '2'", SYNTAX),
        ("CREATE USER a16 IDENTIFIED BY '1',", SYNTAX),
        ("CREATE USER a16 IDENTIFIED WITH sha256_hash BY 'ab'", BAD),
        "CREATE USER a16 IDENTIFIED WITH plaintext_password BY '1', BY '2', bcrypt_password BY '3'",
        (
            "SHOW CREATE USER a16",
            [
                (
                    (
                        "CREATE USER a16 IDENTIFIED WITH plaintext_password, sha256_password, "
                        "bcrypt_password"
                    ),
                )
            ],
        ),
        ("ALTER USER a16 ADD IDENTIFIED WITH no_password", SYNTAX),
        "ALTER USER a16 IDENTIFIED WITH no_password",
        ("a16> SELECT 1", [(1,)]),
    ],
    "valid until": [
        "CREATE USER a17 VALID UNTIL '06/11/2040 08:03:20 Z+3'",
        (
            "SHOW CREATE USER a17",
            [("CREATE USER a17 IDENTIFIED WITH no_password VALID UNTIL '2040-11-06 05:03:20'",)],
        ),
        ("a17> SELECT 1", [(1,)]),
        "ALTER USER a17 VALID UNTIL '01/01/2010'",
        ("a17> SELECT 1", 516),
        "ALTER USER a17 VALID UNTIL 'infinity'",
        ("a17> SELECT 1", [(1,)]),
        "CREATE USER c17 IDENTIFIED BY 'x' VALID FOR toIntervalDay(1), BY 'y' HOST ANY",
        (
            "SELECT length(auth_type), valid_until[1] > now() FROM system.users WHERE name = 'c17'",
            [(2, 1)],
        ),
        "CREATE USER b17 NOT IDENTIFIED VALID UNTIL '01/01/2010'",
        ("b17> SELECT 1", 516),
    ],
    "settings with constraints": [
        "CREATE SETTINGS PROFILE p18 SETTINGS max_memory_usage = 5000000 MIN 4000000 MAX 6000000",
        "CREATE USER a18 SETTINGS PROFILE 'p18'",
        (
            "SHOW CREATE USER a18",
            [("CREATE USER a18 IDENTIFIED WITH no_password SETTINGS PROFILE `p18`",)],
        ),
        ("a18> SELECT getSetting('max_memory_usage')", [(5000000,)]),
        ("a18> SET max_memory_usage = 7000000", 452),
        ("a18> SET max_memory_usage = 3000000", 452),
        "a18> SET max_memory_usage = 5500000",
        "ALTER SETTINGS PROFILE p18 SETTINGS max_memory_usage = 5000000 CONST",
        ("a18> SET max_memory_usage = 5500000", 452),
        "DROP SETTINGS PROFILE p18",
        ("SHOW CREATE USER a18", [("CREATE USER a18 IDENTIFIED WITH no_password",)]),
        ("CREATE USER b18 SETTINGS PROFILE 'p18'", 180),
        ("CREATE USER b18 SETTINGS no_such_setting = 1", 115),
    ],
    "profiles of roles and their order": [
        "CREATE SETTINGS PROFILE p19 SETTINGS max_threads = 3",
        "CREATE ROLE r19 SETTINGS PROFILE p19; CREATE USER a19; GRANT r19 TO a19",
        ("a19> SELECT getSetting('max_threads')", [(3,)]),
        ("a19> SELECT enabledProfiles()", [(["default", "p19"],)]),
        "ALTER USER a19 SETTINGS max_threads = 4",
        ("a19> SELECT getSetting('max_threads')", [(4,)]),
        (
            (
                "SELECT role_name, inherit_profile FROM system.settings_profile_elements "
                "WHERE role_name = 'r19'"
            ),
            [("r19", "p19")],
        ),
    ],
    "quotas": [
        "CREATE USER a20; GRANT SELECT ON default.ac TO a20",
        "CREATE QUOTA q20 FOR INTERVAL 10 YEAR MAX queries = 2 TO a20",
        ("a20> SELECT * FROM ac", [(1,)]),
        ("a20> SELECT * FROM ac", [(1,)]),
        ("a20> SELECT * FROM ac", 201),
        (
            "SHOW CREATE QUOTA q20",
            [("CREATE QUOTA q20 FOR INTERVAL 10 year MAX queries = 2 TO a20",)],
        ),
        "ALTER QUOTA q20 FOR INTERVAL 10 YEAR NO LIMITS",
        ("a20> SELECT * FROM ac", [(1,)]),
        "DROP QUOTA q20",
        ("SHOW CREATE QUOTA q20", 199),
    ],
    "row policies": [
        "CREATE USER a21, b21; GRANT SELECT ON default.acrows TO a21, b21",
        "CREATE ROW POLICY p21 ON acrows FOR SELECT USING x > 1 TO a21",
        ("a21> SELECT x FROM acrows ORDER BY x", [(2,), (3,)]),
        ("b21> SELECT x FROM acrows ORDER BY x", [(1,), (2,), (3,)]),
        "CREATE ROW POLICY q21 ON acrows AS RESTRICTIVE FOR SELECT USING x < 3 TO ALL EXCEPT b21",
        ("a21> SELECT x FROM acrows", [(2,)]),
        "ALTER ROW POLICY p21 ON acrows FOR SELECT USING currentUser() = 'a21'",
        ("a21> SELECT x FROM acrows ORDER BY x", [(1,), (2,)]),
        (
            (
                "SELECT short_name, is_restrictive, apply_to_all, apply_to_except "
                "FROM system.row_policies WHERE `table` = 'acrows' ORDER BY short_name"
            ),
            [("p21", 0, 0, []), ("q21", 1, 1, ["b21"])],
        ),
        "DROP ROW POLICY p21, q21 ON acrows",
        ("SHOW CREATE ROW POLICY p21 ON acrows", 523),
    ],
    "views run as their definer or their caller": [
        "CREATE USER a22, b22; GRANT SELECT ON default.ac TO a22",
        "CREATE VIEW v22 DEFINER = a22 SQL SECURITY DEFINER AS SELECT * FROM default.ac",
        "CREATE VIEW w22 SQL SECURITY INVOKER AS SELECT * FROM default.ac",
        "GRANT SELECT ON default.v22, SELECT ON default.w22 TO b22",
        ("b22> SELECT * FROM v22", [(1,)]),
        ("b22> SELECT * FROM w22", DENIED),
        ("DROP USER a22", 630),
        "DROP VIEW v22 SYNC; DROP USER a22",
    ],
    "execute as": [
        "CREATE USER a23, b23 IDENTIFIED WITH no_authentication",
        ("a23> SELECT 1", 516),
        ("EXECUTE AS a23 SELECT currentUser()", [("a23",)]),
        "CREATE USER c23",
        ("c23> EXECUTE AS a23 SELECT 1", DENIED),
        "GRANT IMPERSONATE ON a23 TO c23",
        ("c23> EXECUTE AS a23 SELECT currentUser()", [("a23",)]),
        ("c23> EXECUTE AS b23 SELECT 1", DENIED),
    ],
    "names of users limit what may be done to them": [
        "CREATE USER a24, acme24_x; GRANT CREATE USER, ALTER USER, DROP USER ON acme24_* TO a24",
        "a24> CREATE USER acme24_y; ",
        ("a24> CREATE USER other24", DENIED),
        ("a24> ALTER USER a24 HOST NONE", DENIED),
        "a24> DROP USER acme24_x, acme24_y",
        (
            "SHOW GRANTS FOR a24",
            [("GRANT CREATE USER, ALTER USER, DROP USER ON acme24_* TO a24",)],
        ),
    ],
    "what one may see": [
        "CREATE USER a25; CREATE ROLE r25; GRANT r25 TO a25",
        ("a25> SHOW GRANTS", [("GRANT r25 TO a25",)]),
        ("a25> SHOW CREATE USER a25", DENIED),
        ("a25> SELECT name FROM system.users", DENIED),
        ("a25> SHOW USERS", DENIED),
        "GRANT SHOW USERS, SHOW ROLES ON *.* TO a25",
        ("a25> SELECT count() FROM system.users WHERE name = 'a25'", [(1,)]),
        ("a25> SELECT count() FROM system.role_grants", DENIED),
        ("a25> SELECT name FROM system.quotas", DENIED),
    ],
    "names that must be quoted": [
        "CREATE USER `a26@x.y`, `select`, `b 26`; CREATE ROLE `role 26`",
        "GRANT `role 26` TO `a26@x.y`, `b 26`",
        ("SHOW GRANTS FOR `b 26`", [("GRANT `role 26` TO `b 26`",)]),
        ("SHOW CREATE USER `a26@x.y`", [("CREATE USER `a26@x.y` IDENTIFIED WITH no_password",)]),
        "CREATE USER a26@'%.y'",
        (
            "SHOW CREATE USER a26@'%.y'",
            [("CREATE USER `a26@%.y` IDENTIFIED WITH no_password HOST LIKE '%.y'",)],
        ),
        "DROP USER `select`",
    ],
    "storages": [
        "CREATE USER a27 IN local_directory; CREATE ROLE r27 IN local_directory",
        ("SELECT storage FROM system.users WHERE name = 'a27'", [("local_directory",)]),
        ("CREATE USER b27 IN nowhere", 492),
        ("DROP USER a27 FROM local_directory", []),
    ],
    "named collections": [
        "CREATE NAMED COLLECTION nc28 AS a = 1, b = 'x'; CREATE USER a28",
        ("a28> SELECT name FROM system.named_collections", DENIED),
        ("a28> DROP NAMED COLLECTION nc28", DENIED),
        "GRANT DROP NAMED COLLECTION ON nc28 TO a28",
        ("a28> CREATE NAMED COLLECTION nc28b AS a = 1", DENIED),
        "a28> DROP NAMED COLLECTION nc28",
    ],
}


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Sql:
    url = os.environ.get("CLICKHOUSE_URL")
    if url is None:
        sandbox: Sql = request.getfixturevalue("sql")
        return sandbox
    at = parse_address(url)
    return Sql(at.port, at.host, (at.user, at.password))


@pytest.fixture
async def tables(server: Sql) -> None:
    for name, rows in {"ac": "1", "acrows": "arrayJoin([1, 2, 3])"}.items():
        await server(f"CREATE OR REPLACE TABLE {name} (x UInt8) ENGINE = MergeTree ORDER BY x")
        await server(f"INSERT INTO {name} SELECT {rows}")


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
async def test_story(server: Sql, tables: None, steps: list[Step]) -> None:
    for step in steps:
        text, expected = step if isinstance(step, tuple) else (step, None)
        for statement in filter(None, map(str.strip, text.split(";"))):
            found = re.match(r"(\w+)> ", statement)
            user = found[1] if found else ""
            sent = statement[found.end() :] if found else statement
            if isinstance(expected, list):
                assert await server(sent, user=user) == expected, statement
            else:
                assert await server.code(sent, user=user) == expected, statement
