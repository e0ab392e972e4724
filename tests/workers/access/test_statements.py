"""The SQL of every step, and that no text in a name or value can leave its quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.privileges import parse_privilege
from workers.access.model import (
    Home,
    Interval,
    Login,
    Method,
    RoleDefinition,
    RowFilter,
    Setting,
)
from workers.access.reach import Grant as Held
from workers.access.statements import (
    masked,
    provisioner_grants,
    quote_identifier,
    quote_literal,
    render,
    render_privilege,
)
from workers.access.steps import (
    Adopt,
    Authenticate,
    Create,
    CreateRole,
    DefaultAll,
    DefaultList,
    Drop,
    DropQuota,
    DropRowFilter,
    GiveBack,
    Grant,
    GrantParents,
    GrantPrivilege,
    Hold,
    KillQueries,
    Lock,
    MarkRole,
    Release,
    Remark,
    Rename,
    Reopen,
    RevokeAdmin,
    RevokeParents,
    RevokePrivilege,
    RevokeRoles,
    SetQuota,
    SetRowFilter,
    SetSettings,
    Settle,
    Step,
    StripPrivileges,
    StripRoles,
    TakeGrants,
    Unlock,
)

TWO = ("ana", "bo@acme.example")
LDAP = Login("ldap", (("server", "corp"),))
PRIVILEGE = parse_privilege("SELECT(id, country), INSERT ON crm.customers")

GOLDEN: dict[str, tuple[Step, list[str]]] = {
    "revoke": (
        RevokeRoles(TWO, ("r1", "r 2")),
        ["REVOKE `r1`, `r 2` FROM `ana`, `bo@acme.example`"],
    ),
    "strip roles": (StripRoles(TWO), ["REVOKE ALL EXCEPT `m` FROM `ana`, `bo@acme.example`"]),
    "strip privileges": (StripPrivileges(TWO), ["REVOKE ALL ON *.* FROM `ana`, `bo@acme.example`"]),
    "kill": (KillQueries(TWO), ["KILL QUERY WHERE user IN ('ana', 'bo@acme.example') ASYNC"]),
    "hold": (
        Hold(TWO),
        ["ALTER USER `ana`, `bo@acme.example` VALID UNTIL '2000-02-02 00:00:00' HOST NONE"],
    ),
    "lock": (
        Lock(TWO),
        ["ALTER USER `ana`, `bo@acme.example` VALID UNTIL '2000-01-01 00:00:00' HOST NONE"],
    ),
    "drop": (Drop(TWO), ["DROP USER IF EXISTS `ana`, `bo@acme.example`"]),
    "rename": (Rename("ana", "eva"), ["ALTER USER `ana` RENAME TO `eva`"]),
    "create locked": (
        Create(("ana",), LDAP, locked=True),
        [
            (
                "CREATE USER `ana` IDENTIFIED WITH ldap SERVER 'corp'"
                " VALID UNTIL '2000-01-01 00:00:00' HOST NONE DEFAULT ROLE `m`"
            )
        ],
    ),
    "create": (
        Create(TWO, LDAP),
        [
            (
                "CREATE USER `ana`, `bo@acme.example` IDENTIFIED WITH ldap SERVER 'corp'"
                " DEFAULT ROLE `m`"
            )
        ],
    ),
    "unlock": (
        Unlock(("ana",), Login("kerberos")),
        ["ALTER USER `ana` IDENTIFIED WITH kerberos HOST ANY"],
    ),
    "kerberos with a realm": (
        Authenticate(("ana",), Login("kerberos", (("realm", "ACME"),))),
        ["ALTER USER `ana` IDENTIFIED WITH kerberos REALM 'ACME' HOST ANY"],
    ),
    "http": (
        Authenticate(("ana",), Login("http", (("scheme", "BASIC"), ("server", "sso")))),
        ["ALTER USER `ana` IDENTIFIED WITH http SERVER 'sso' SCHEME 'BASIC' HOST ANY"],
    ),
    "certificate by name": (
        Authenticate(("ana",), Login("ssl_certificate", (("common_name", "ana"),))),
        ["ALTER USER `ana` IDENTIFIED WITH ssl_certificate CN 'ana' HOST ANY"],
    ),
    "certificate by alternative names": (
        Authenticate(
            ("ana",),
            Login("ssl_certificate", (("subject_alt_name", "a"), ("subject_alt_name", "b"))),
        ),
        ["ALTER USER `ana` IDENTIFIED WITH ssl_certificate SAN 'a', 'b' HOST ANY"],
    ),
    "no authentication": (
        Authenticate(("ana",), Login("no_authentication")),
        ["ALTER USER `ana` IDENTIFIED WITH no_authentication HOST ANY"],
    ),
    "no password": (
        Authenticate(("ana",), Login("no_password")),
        ["ALTER USER `ana` IDENTIFIED WITH no_password HOST ANY"],
    ),
    "password": (
        Authenticate(("ana",), Login("sha256_password", secret="sha256:AB:CD")),
        ["ALTER USER `ana` IDENTIFIED WITH sha256_hash BY 'AB' SALT 'CD' HOST ANY"],
    ),
    "password by bcrypt": (
        Authenticate(("ana",), Login("bcrypt_password", secret="bcrypt:$2a$04$x")),
        ["ALTER USER `ana` IDENTIFIED WITH bcrypt_hash BY '$2a$04$x' HOST ANY"],
    ),
    "an end": (
        Unlock(("ana",), Login("kerberos", until=2_000_000_000)),
        [("ALTER USER `ana` IDENTIFIED WITH kerberos VALID UNTIL '2033-05-18T03:33:20Z' HOST ANY")],
    ),
    "create locked, with an end": (
        Create(("ana",), Login("kerberos", until=2_000_000_000), locked=True),
        [
            (
                "CREATE USER `ana` IDENTIFIED WITH kerberos"
                " VALID UNTIL '2000-01-01 00:00:00' HOST NONE DEFAULT ROLE `m`"
            )
        ],
    ),
    "remark": (Remark(TWO), ["GRANT `m` TO `ana`, `bo@acme.example`"]),
    "grant": (Grant(("ana",), ("r1", "r2")), ["GRANT `r1`, `r2` TO `ana`"]),
    "default all": (DefaultAll(TWO), ["ALTER USER `ana`, `bo@acme.example` DEFAULT ROLE ALL"]),
    "create role": (CreateRole("r", ()), ["CREATE ROLE `r`"]),
    "create role with settings": (
        CreateRole(
            "r",
            (
                Setting("max_threads", 4, min=1, max="8", const=True),
                Setting("readonly", True),
                Setting("log_comment", "it's"),
                Setting("max_rows_to_read", max=9),
            ),
        ),
        [
            (
                "CREATE ROLE `r` SETTINGS `max_threads` = 4 MIN 1 MAX '8' CONST, `readonly` = 1,"
                " `log_comment` = 'it\\'s', `max_rows_to_read` MAX 9"
            )
        ],
    ),
    "mark": (MarkRole("r"), ["GRANT `m` TO `r`"]),
    "grant privilege": (
        GrantPrivilege("r", PRIVILEGE),
        ["GRANT SELECT(`id`, `country`), INSERT ON `crm`.`customers` TO `r`"],
    ),
    "revoke privilege": (
        RevokePrivilege("r", PRIVILEGE),
        ["REVOKE SELECT(`id`, `country`), INSERT ON `crm`.`customers` FROM `r`"],
    ),
    "row filter": (
        SetRowFilter("r", "db", "t", "tenant = 'acme'"),
        [
            (
                "CREATE ROW POLICY IF NOT EXISTS `m:r` ON `db`.`t`"
                " FOR SELECT USING (tenant = 'acme') AS PERMISSIVE TO `r`"
            ),
            (
                "ALTER ROW POLICY `m:r` ON `db`.`t`"
                " FOR SELECT USING (tenant = 'acme') AS PERMISSIVE TO `r`"
            ),
        ],
    ),
    "no row filter": (
        DropRowFilter("r", "db", "t"),
        ["DROP ROW POLICY IF EXISTS `m:r` ON `db`.`t`"],
    ),
    "settings": (
        SetSettings("r", (Setting("max_execution_time", 1.5),)),
        ["ALTER ROLE `r` ADD SETTING `max_execution_time` = 1.5"],
    ),
    "no settings": (
        SetSettings("r", (), ("a", "b"), ("p",)),
        ["ALTER ROLE `r` DROP SETTING `a`, DROP SETTING `b`, DROP PROFILE 'p'"],
    ),
    "a restrictive filter": (
        SetRowFilter("r", "db", "t", "1", restrictive=True),
        [
            (
                "CREATE ROW POLICY IF NOT EXISTS `m:r` ON `db`.`t` FOR SELECT USING (1)"
                " AS RESTRICTIVE TO `r`"
            ),
            "ALTER ROW POLICY `m:r` ON `db`.`t` FOR SELECT USING (1) AS RESTRICTIVE TO `r`",
        ],
    ),
    "parents": (GrantParents("r", ("a", "b")), ["GRANT `a`, `b` TO `r`"]),
    "no parents": (RevokeParents("r", ("a",)), ["REVOKE `a` FROM `r`"]),
    "quota": (
        SetQuota("r", (Interval(60, (("queries", 5), ("execution_time", 1.5))),), (3600,)),
        [
            (
                "CREATE QUOTA IF NOT EXISTS `m:r` KEYED BY user_name"
                " FOR INTERVAL 60 second MAX queries = 5, execution_time = 1.5 TO `r`"
            ),
            "ALTER QUOTA `m:r` FOR INTERVAL 3600 second NO LIMITS",
            (
                "ALTER QUOTA `m:r` KEYED BY user_name"
                " FOR INTERVAL 60 second MAX queries = 5, execution_time = 1.5 TO `r`"
            ),
        ],
    ),
    "no quota": (DropQuota("r"), ["DROP QUOTA IF EXISTS `m:r`"]),
    "what others gave": (
        TakeGrants(
            "r",
            (
                Held("SELECT", "d b", False, "t", False, "c"),
                Held("CREATE USER", only="acme_", only_wildcard=True),
                Held("SELECT", "logs", True, hand_on=True),
            ),
        ),
        [
            "REVOKE SELECT(`c`) ON `d b`.`t` FROM `r`",
            "REVOKE CREATE USER ON `acme_`* FROM `r`",
            "REVOKE GRANT OPTION FOR SELECT ON `logs`*.* FROM `r`",
        ],
    ),
    "adopt": (Adopt(("ana", "bo")), ["GRANT `m` TO `ana`, `bo`"]),
    "release": (Release(("ana",)), ["REVOKE `m` FROM `ana`"]),
    "reopen": (
        Reopen(("ana",), ("10.0.0.0/8", "like %.x", "localhost", "name h", "regexp .*"), None),
        [
            (
                "ALTER USER `ana` VALID UNTIL 'infinity' HOST LOCAL, IP '10.0.0.0/8', NAME 'h',"
                " REGEXP '.*', LIKE '%.x'"
            )
        ],
    ),
    "give back": (
        GiveBack(("ana",), ("GRANT SELECT ON d.* WITH GRANT OPTION", "REVOKE SELECT(c) ON d.t")),
        [
            "GRANT SELECT ON d.* TO `ana` WITH GRANT OPTION",
            "REVOKE SELECT(c) ON d.t FROM `ana`",
        ],
    ),
    "a list of default roles": (
        DefaultList(("ana",), ("r", "s")),
        ["ALTER USER `ana` DEFAULT ROLE `r`, `s`"],
    ),
    "no default role": (DefaultList(("ana",), ()), ["ALTER USER `ana` DEFAULT ROLE NONE"]),
    "dormant roles": (
        DefaultAll(("ana",), ("r", "s")),
        ["ALTER USER `ana` DEFAULT ROLE ALL EXCEPT `r`, `s`"],
    ),
    "roles to hand on": (
        Grant(("ana",), ("r",), admin=True),
        ["GRANT `r` TO `ana` WITH ADMIN OPTION"],
    ),
    "not to hand on": (
        RevokeAdmin(("ana",), ("r",)),
        ["REVOKE ADMIN OPTION FOR `r` FROM `ana`"],
    ),
    "a home": (
        Settle(("ana",), Home("d b", frozenset({"p", "q"})), ("o",)),
        ["ALTER USER `ana` DEFAULT DATABASE `d b` DROP PROFILES 'o' ADD PROFILES 'p', 'q'"],
    ),
    "no home": (Settle(("ana",), Home(), ()), ["ALTER USER `ana` DEFAULT DATABASE NONE"]),
    "several methods from some hosts": (
        Authenticate(
            ("ana",),
            Login(
                "kerberos",
                beside=(Method("ssh_key", (("key", "ssh-ed25519 AAAA"), ("key", "ssh-rsa BBBB"))),),
                until=2_000_000_000,
                hosts=("10.0.0.0/8", "localhost"),
            ),
        ),
        [
            (
                "ALTER USER `ana` IDENTIFIED WITH kerberos VALID UNTIL '2033-05-18T03:33:20Z',"
                " ssh_key BY KEY 'AAAA' TYPE 'ssh-ed25519', KEY 'BBBB' TYPE 'ssh-rsa'"
                " VALID UNTIL '2033-05-18T03:33:20Z' HOST LOCAL, IP '10.0.0.0/8'"
            )
        ],
    ),
}


@pytest.mark.parametrize(("step", "sql"), GOLDEN.values(), ids=GOLDEN.keys())
def test_a_step_is_rendered_as(step: Step, sql: list[str]) -> None:
    assert [statement.sql for statement in render(step, "m")] == sql


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("SELECT ON *.*", "SELECT ON *.*"),
        ("SELECT ON db.*", "SELECT ON `db`.*"),
        ("SELECT ON logs*.*", "SELECT ON `logs`*.*"),
        ("SELECT ON db.tab*", "SELECT ON `db`.`tab`*"),
        ("dictGet ON `a``b`.`c d`", "dictGet ON `a\\`b`.`c d`"),
    ],
)
def test_a_privilege_is_rendered_as(text: str, sql: str) -> None:
    assert render_privilege(parse_privilege(text)) == sql


@pytest.mark.parametrize(
    ("char", "identifier", "literal"),
    [
        ("`", "\\`", "`"),
        ("'", "'", "\\'"),
        ('"', '"', '"'),
        ("\\", "\\\\", "\\\\"),
        ("\n", "\\n", "\\n"),
        ("\r", "\\r", "\\r"),
        ("\t", "\\t", "\\t"),
        ("\0", "\\0", "\\0"),
        ("\b", "\\b", "\\b"),
        ("\f", "\\f", "\\f"),
        ("%", "%", "%"),
        (";", ";", ";"),
        ("é", "é", "é"),
        ("😀", "😀", "😀"),
    ],
)
def test_each_character_is_quoted_as(char: str, identifier: str, literal: str) -> None:
    assert quote_identifier(char) == f"`{identifier}`"
    assert quote_literal(char) == f"'{literal}'"


_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "b": "\b", "f": "\f"}


def read_back(quoted: str, quote: str) -> str:
    """Return what ClickHouse's lexer reads between two quotes; there must be no third one."""
    assert re.fullmatch(rf"{quote}(?:[^\\{quote}]|\\.)*{quote}", quoted, re.DOTALL)
    return re.sub(r"\\(.)", lambda m: _UNESCAPED.get(m[1], m[1]), quoted[1:-1], flags=re.DOTALL)


@given(st.text(min_size=1) | st.text(alphabet="`'\\\n;-a", min_size=1))
def test_whatever_is_quoted_is_read_back_and_never_leaves_its_quotes(text: str) -> None:
    assert read_back(quote_identifier(text), "`") == text
    assert read_back(quote_literal(text), "'") == text


def test_an_empty_name_is_no_name() -> None:
    with pytest.raises(ValueError, match="can't be empty"):
        quote_identifier("")


def test_a_method_that_is_not_ours_makes_no_user() -> None:
    with pytest.raises(ValueError, match="plaintext_password"):
        list(render(Create(("ana",), Login("plaintext_password")), "m"))


@pytest.mark.parametrize(
    "login",
    [
        Login("sha256_password"),
        Login("sha256_password", secret="bcrypt:$2a$04$x"),
        Login("bcrypt_password", secret="sha256:AB:CD"),
        Login("sha256_password", secret="AB"),
    ],
)
def test_a_secret_of_another_kind_makes_no_user_and_is_not_told(login: Login) -> None:
    with pytest.raises(ValueError, match=r"secret|hash") as refused:
        list(render(Create(("ana",), login), "m"))
    assert "AB" not in str(refused.value)
    assert "$2a" not in str(refused.value)


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize("hashed", [f"sha256:{HASH}:{HASH[::-1]}", f"bcrypt:$2a$12${'x' * 53}"])
def test_no_hash_of_a_password_is_ever_shown(hashed: str) -> None:
    login = Login(f"{hashed.partition(':')[0]}_password", secret=hashed)
    (statement,) = render(Create(("ana", "sha"), login), "m")
    parts = hashed.split(":")[1:]
    assert all(part in statement.sql for part in parts)
    at = statement.sql.index(parts[0])
    for shown in (
        repr(statement),
        repr(login),
        masked(statement.sql),
        masked(statement.sql[: at + 70]),  # cut in the middle, as errors are
        masked(f"Syntax error: failed at position 9: {statement.sql[at - 1 :]}"),
    ):
        assert not any(part[:40] in shown for part in parts)
    assert "`ana`, `sha`" in masked(statement.sql)


@pytest.mark.parametrize("step", [s for s, _ in GOLDEN.values() if not isinstance(s, Authenticate)])
def test_a_statement_without_a_password_is_shown_whole(step: Step) -> None:
    assert all(masked(statement.sql) == statement.sql for statement in render(step, "m"))


hostile = st.text(alphabet="`'\\\né😀a", min_size=1, max_size=256)


@given(
    st.lists(hostile, min_size=1, max_size=5, unique=True),
    st.lists(hostile, min_size=1, max_size=4, unique=True),
    st.integers(1, 300),
)
def test_large_steps_are_split_and_lose_nobody(
    names: list[str], roles: list[str], times: int
) -> None:
    many = tuple(f"{name}{at}" for at in range(times) for name in names)
    for step in (Grant(many, tuple(roles)), KillQueries(many), Drop(many)):
        statements = list(render(step, "m"))
        assert all(len(s.sql.encode()) < 200_000 for s in statements)
        assert all(len(s.names) <= 500 for s in statements)
        assert [name for s in statements for name in s.names] == list(many)


@pytest.mark.parametrize("char", ["`", "'", "\\", "é", "😀"])
def test_a_statement_of_the_longest_names_stays_far_below_the_limit(char: str) -> None:
    names = tuple(char * 250 + f"{at:03}" for at in range(1000))
    for step in (Grant(names[:300], names[:300]), KillQueries(names), Create(names, LDAP)):
        assert max(len(s.sql.encode()) for s in render(step, names[0])) < 200_000


def test_many_roles_are_split_too() -> None:
    roles = tuple("r" * 250 + str(at) for at in range(1000))
    granted = [s.step for s in render(Grant(("ana",), roles), "m")]
    assert len(granted) > 1
    assert [role for step in granted if isinstance(step, Grant) for role in step.roles] == [*roles]


def test_a_new_role_for_ten_thousand_users_takes_twenty_statements() -> None:
    names = tuple(f"user{at}@acme.example" for at in range(10_000))
    assert len(list(render(Grant(names, ("analyst",)), "m"))) == 20


def test_the_provisioner_gets_what_the_statements_need_and_what_roles_hand_out() -> None:
    definition = RoleDefinition(
        "analyst",
        grants=(parse_privilege("SELECT ON analytics.*"),),
        row_filters=(RowFilter("analytics", "orders", "1"),),
    )
    assert provisioner_grants("provisioner", [definition]) == (
        "GRANT CREATE USER, ALTER USER, DROP USER ON *.* TO `provisioner`",
        "GRANT CREATE ROLE, ALTER ROLE, ROLE ADMIN ON *.* TO `provisioner`",
        "GRANT SHOW ACCESS, KILL QUERY ON *.* TO `provisioner`",
        "GRANT SELECT ON `system`.`role_grants` TO `provisioner`",
        "GRANT SELECT ON `system`.`grants` TO `provisioner`",
        "GRANT SELECT ON `system`.`processes` TO `provisioner`",
        "GRANT SELECT ON `system`.`settings_profile_elements` TO `provisioner`",
        "GRANT SELECT ON `system`.`user_directories` TO `provisioner`",
        "GRANT SELECT ON `system`.`clusters` TO `provisioner`",
        "GRANT SELECT ON `analytics`.* TO `provisioner` WITH GRANT OPTION",
        (
            "GRANT CREATE ROW POLICY, ALTER ROW POLICY, DROP ROW POLICY ON `analytics`.`orders`"
            " TO `provisioner`"
        ),
    )
