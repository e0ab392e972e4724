"""The state as statements: bare first, then what refers to others; secrets put back."""

from __future__ import annotations

from app.sandbox.clickhouse.credentials import Method
from app.sandbox.clickhouse.snapshot import render_snapshot

ANA = (
    "CREATE USER `a b` IDENTIFIED WITH sha256_password VALID UNTIL '2030-01-01', plaintext_password"
    " HOST LOCAL DEFAULT ROLE r SETTINGS PROFILE `p`, max_threads = 2 GRANTEES bo"
)
ENTITIES = [
    ANA,
    "CREATE USER bo IDENTIFIED WITH ldap SERVER 'with, HOST'",
    "CREATE USER default IDENTIFIED WITH plaintext_password SETTINGS PROFILE `default`",
    "CREATE ROLE r SETTINGS max_threads = 3",
    "CREATE ROLE s",
    "CREATE SETTINGS PROFILE `default`",
    "CREATE SETTINGS PROFILE `p` SETTINGS readonly = 1 TO r",
    "CREATE ROW POLICY own ON d.t FOR SELECT USING a = 1 TO r",
    "CREATE QUOTA default KEYED BY user_name TO default",
    "GRANT ALL ON *.* TO default WITH GRANT OPTION",
    "GRANT SELECT ON *.* TO r",
    "REVOKE SELECT ON d.* FROM r",
    "GRANT r TO `a b`",
    "GRANT r TO bo",
    "GRANT s TO r WITH ADMIN OPTION",
    "GRANT NONE TO bo",
]
METHODS = {
    "a b": (Method("sha256_password", "ab12", "salt"), Method("plaintext_password", "it's")),
    "bo": (Method("ldap"),),
}


def test_what_refers_to_others_comes_after_them() -> None:
    assert list(render_snapshot(ENTITIES, METHODS)) == [
        ["CREATE ROLE r, s"],
        ["CREATE SETTINGS PROFILE `p`"],
        [
            (
                "CREATE USER `a b` IDENTIFIED WITH sha256_hash BY 'ab12' SALT 'salt' VALID UNTIL"
                " '2030-01-01', plaintext_password BY 'it\\'s' HOST LOCAL"
            ),
            "CREATE USER bo IDENTIFIED WITH ldap SERVER 'with, HOST'",
        ],
        ["GRANT SELECT ON *.* TO r"],
        ["REVOKE SELECT ON d.* FROM r"],
        ["GRANT r TO `a b`, bo"],
        ["GRANT s TO r WITH ADMIN OPTION"],
        [
            ("ALTER USER `a b` DEFAULT ROLE r SETTINGS PROFILE `p`, max_threads = 2 GRANTEES bo"),
            "ALTER ROLE r SETTINGS max_threads = 3",
            "ALTER SETTINGS PROFILE `p` SETTINGS readonly = 1 TO r",
            "CREATE ROW POLICY own ON d.t FOR SELECT USING a = 1 TO r",
        ],
    ]


def test_a_user_whose_secret_is_not_known_is_kept_and_cannot_log_in() -> None:
    (together,) = render_snapshot(["CREATE USER u IDENTIFIED WITH sha256_password"], {})
    assert together == ["CREATE USER `u` IDENTIFIED WITH no_authentication"]


def test_names_that_look_like_keywords_are_quoted_and_stand_alone() -> None:
    """Of statements that run together the engine drops the quotes, so these do not."""
    entities = [
        "CREATE USER with IDENTIFIED WITH no_password DEFAULT DATABASE settings",
        "CREATE USER u IDENTIFIED WITH no_password DEFAULT ROLE none GRANTEES ANY EXCEPT any",
        "CREATE ROLE none",
        "CREATE ROLE to",
        "CREATE ROW POLICY p ON d.t USING any = none TO none",
        "GRANT SELECT ON d.t TO to WITH GRANT OPTION",
        "GRANT none, to TO none WITH ADMIN OPTION",
        "GRANT on TO CURRENT_USER",
    ]
    methods = {"with": (Method("no_password"),), "u": (Method("no_password"),)}
    assert list(render_snapshot(entities, methods)) == [
        ["CREATE ROLE `none`, to"],
        [
            "CREATE USER with IDENTIFIED WITH no_password DEFAULT DATABASE settings",
            "CREATE USER u IDENTIFIED WITH no_password",
        ],
        ["GRANT SELECT ON d.t TO to WITH GRANT OPTION"],
        ["GRANT on TO `CURRENT_USER`"],
        ["GRANT `none`, to TO `none` WITH ADMIN OPTION"],
        ["ALTER USER `u` DEFAULT ROLE `none` GRANTEES ANY EXCEPT `any`"],
        ["CREATE ROW POLICY p ON d.t USING any = none TO `none`"],
    ]


def test_long_lists_are_split_so_that_each_is_one_query() -> None:
    users = [f"CREATE USER u{i} IDENTIFIED WITH no_password" for i in range(3000)]
    methods = {f"u{i}": (Method("no_password"),) for i in range(3000)}
    lists = list(render_snapshot(users, methods))
    assert [sql for together in lists for sql in together] == users
    assert all(len("\nPARALLEL WITH\n".join(together)) < 60_000 for together in lists)
