from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.config.load import load
from app.config.settings import Settings
from app.config.target import Host
from app.config.tenant import Ldap, NoAuthentication
from app.errors import ConfigError
from app.scim.password import Hasher

MINIMAL = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.main]
hosts = ["127.0.0.1:9000"]
[tenants.acme]
targets = ["main"]
"""


def read(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> Settings:
    path = tmp_path / "clickhouse-scim.toml"
    path.write_text(text)
    return load(path, environ or {})


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text, environ)
    return [str(problem) for problem in error.value.problems]


def test_a_short_file_is_enough(tmp_path: Path) -> None:
    settings = read(tmp_path, MINIMAL)
    tenant, target = settings.tenants["acme"], settings.targets["main"]
    assert target.hosts == (Host("127.0.0.1", 9000),)
    assert (target.user, target.password, target.database) == ("provisioner", None, "default")
    assert (tenant.user_name.text, tenant.marker_role) == ("{userName}", "scim_managed")
    assert tenant.authentication == NoAuthentication()
    assert settings.drift.interval_seconds == 300
    assert settings.limits.max_body_bytes == 10 * 1024 * 1024


def test_the_documented_file_is_understood(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    settings = read(
        tmp_path,
        """
[redis]
url = "rediss://redis.acme.example:6380/1"
password_file = "secret"
[drift]
interval_seconds = 0
policy = "repair"
[targets.eu]
hosts = ["ch-eu-1:9000", "ch-eu-2", "[::1]:9440", "[fe80::1]"]
user = "provisioner"
password_env = "CH_EU_PASSWORD"
secure = true
storage = "replicated"
[tenants.acme]
targets = ["eu"]
user_name = "{tenant}__{userName}"
unmapped_groups = "ignore"
role_prefix = "acme_"
default_roles = ["employee"]
on_delete = "lock"
verified_domains = ["ACME.example"]
adopt_existing_users = false
[tenants.acme.authentication]
method = "ldap"
server = "corp_ldap"
[[tenants.acme.groups]]
group = "Data Analysts"
roles = ["analyst"]
[[tenants.acme.groups]]
external_id = "00g1"
roles = ["engineer", "analyst"]
[tenants.acme.roles.analyst]
grants = ["SELECT ON analytics.*", "SELECT(id, country) ON crm.customers"]
settings = { max_memory_usage = 10000000000, readonly = true, x = "y", z = 1.5 }
row_filters = { "analytics.orders" = "tenant = 'acme'" }
""",
        {"CH_EU_PASSWORD": "swordfish"},
    )
    eu, acme = settings.targets["eu"], settings.tenants["acme"]
    assert [str(host) for host in eu.hosts] == [
        "ch-eu-1:9000",
        "ch-eu-2:9000",
        "[::1]:9440",
        "[fe80::1]:9000",
    ]
    assert eu.password is not None
    assert eu.password.get_secret_value() == "swordfish"
    assert settings.redis.password is not None
    assert settings.redis.password.get_secret_value() == "hunter2"
    assert acme.authentication == Ldap(server="corp_ldap")
    assert acme.verified_domains == ("acme.example",)
    analyst = acme.roles["analyst"]
    assert analyst.settings == {
        "max_memory_usage": 10_000_000_000,
        "readonly": True,
        "x": "y",
        "z": 1.5,
    }
    assert [type(value) for value in analyst.settings.values()] == [int, bool, str, float]
    assert analyst.row_filters == {"analytics.orders": "tenant = 'acme'"}
    assert "swordfish" not in repr(settings)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("authentication", "hasher"),
    [
        ('method = "password"', Hasher("sha256")),
        ('method = "password"\nhash = "bcrypt"', Hasher("bcrypt")),
        ('method = "kerberos"', None),
        ("", None),
    ],
)
def test_passwords_are_hashed_where_they_are_the_way_in_and_else_ignored(
    tmp_path: Path, authentication: str, hasher: Hasher | None
) -> None:
    table = f"[tenants.acme.authentication]\n{authentication}" if authentication else ""
    assert read(tmp_path, MINIMAL + table).tenants["acme"].hasher == hasher


def test_bcrypt_without_its_package_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    text = MINIMAL + '[tenants.acme.authentication]\nmethod = "password"\nhash = "bcrypt"'
    (told,) = problems(tmp_path, text)
    assert told.startswith("tenants.acme.authentication.hash: bcrypt needs the package bcrypt")


TWO_DOMAINS = """
[tenants.b]
targets = ["main"]
user_name = "{userName|localpart}"
verified_domains = ["a.example", "b.example"]
"""
# What the file says below MINIMAL, and the line that it is told.
MISTAKES = {
    "unknown table": ("[foo]", "foo: is no known key; allowed: drift"),
    "misspelt table": ("[reciever]\nport = 1", "reciever: is no known key; did you mean receiver?"),
    "ledger address": ('[ledger]\nurl = "x"', "ledger.url: is no address of a ledger; write it"),
    "ledger password": (
        '[ledger]\nurl = "clickhouse://a:b@c/d"',
        "ledger.url: holds a password, which never stands in this file; give password_env",
    ),
    "text for a number": ('[receiver]\nport = "80"', "receiver.port: must be a whole number"),
    "fraction for a whole": ("[receiver]\nport = 8.5", "receiver.port: must be a whole number"),
    "true for a number": ("[worker]\nlease_seconds = true", "worker.lease_seconds: must be a num"),
    "too large": ("[receiver]\nport = 65536", "receiver.port: must be 65535 or less"),
    "too small": ("[limits]\nmax_page = 0", "limits.max_page: must be 1 or more"),
    "not positive": ("[worker]\nsweep_seconds = 0", "worker.sweep_seconds: must be more than 0"),
    "not finite": ("[worker]\nsweep_seconds = inf", "worker.sweep_seconds: must be"),
    "page over the most": ("[limits]\ndefault_page = 2000", "limits.default_page: must not be"),
    "drift policy": ('[drift]\npolicy = "x"', "drift.policy: must be one of 'repair'"),
    "table for a value": ("[receiver.port]", "receiver.port: must be a whole number"),
    "value for a table": ("[targets]\nx = 1", "targets.x: must be a table"),
    "target name": ('[targets."a b"]\nhosts = ["x"]', "targets.a b: is no name of a target"),
    "no hosts": ("[targets.x]", "targets.x.hosts: is missing"),
    "bad port": ('[targets.x]\nhosts = ["a:b"]', "targets.x.hosts[0]: has no port"),
    "port too large": ('[targets.x]\nhosts = ["a:70000"]', "targets.x.hosts[0]: has a port out"),
    "bare IPv6": ('[targets.x]\nhosts = ["::1"]', "targets.x.hosts[0]: is no address"),
    "URL": ('[targets.x]\nhosts = ["tcp://a:1"]', "targets.x.hosts[0]: "),
    "bad brackets": ('[targets.x]\nhosts = ["[a]:1"]', "targets.x.hosts[0]: has no IPv6 address"),
    "number as host": ("[targets.x]\nhosts = [1]", "targets.x.hosts[0]: must be text"),
    "hosts no list": ('[targets.x]\nhosts = "a"', "targets.x.hosts: must be a list"),
    "on_cluster": ('[targets.x]\nhosts=["a"]\nstorage = "on_cluster"', "targets.x.cluster: is mis"),
    "twice": ('[targets.x]\nhosts=["a", "a"]', "targets.x.hosts: names a twice"),
    "password": ('[targets.x]\nhosts=["a"]\npassword = "p"', "targets.x.password: never stands"),
    "both passwords": (
        '[targets.x]\nhosts=["a"]\npassword_env = "HOME"\npassword_file = "f"',
        "targets.x.password_file: can't stand beside password_env",
    ),
    "variable missing": (
        '[targets.x]\nhosts=["a"]\npassword_env = "NOPE"',
        "targets.x.password_env: environment variable NOPE is not set",
    ),
    "secret's file missing": (
        '[targets.x]\nhosts=["a"]\npassword_file = "nope"',
        "targets.x.password_file: can't read ",
    ),
    "ca_file missing": (
        '[targets.x]\nhosts=["a"]\nsecure = true\nca_file = "nope"',
        "targets.x.ca_file: there is no file",
    ),
    "ca_file without TLS": ('[targets.x]\nhosts=["a"]\nca_file = "/"', "targets.x.ca_file: has no"),
    "tenant name": ('[tenants.A]\ntargets = ["main"]', "tenants.A: is no name of a tenant"),
    "no targets": ("[tenants.b]", "tenants.b.targets: is missing"),
    "empty targets": ("[tenants.b]\ntargets = []", "tenants.b.targets: must have at least one"),
    "target twice": ('[tenants.b]\ntargets = ["main", "main"]', "tenants.b.targets: names 'main'"),
    "unknown target": ('[tenants.b]\ntargets = ["mian"]', "tenants.b.targets: there is no target"),
    "on_delete": ('[tenants.b]\non_delete = "x"', "tenants.b.on_delete: must be one of 'drop' or"),
    "misspelt key": ('[tenants.b]\non_delet = "x"', "tenants.b.on_delet: is no known key; did you"),
    "template": ('[tenants.b]\nuser_name = "x"', "tenants.b.user_name: must contain {userName}"),
    "template number": ("[tenants.b]\nuser_name = 1", "tenants.b.user_name: must be text"),
    "local part without domain": (
        '[tenants.b]\ntargets=["main"]\nuser_name = "b_{userName|localpart}"',
        "tenants.b.user_name: takes the local part only beside exactly one domain",
    ),
    "local part with two domains": (
        TWO_DOMAINS,
        "tenants.b.user_name: takes the local part only beside exactly one domain",
    ),
    "domain": ('[tenants.b]\nverified_domains = ["@x"]', "tenants.b.verified_domains[0]: is no do"),
    "domain twice": (
        '[tenants.b]\nverified_domains = ["a.example", "A.example"]',
        "tenants.b.verified_domains: names 'a.example' twice",
    ),
    "two names of a certificate": (
        (
            '[tenants.b.authentication]\nmethod = "ssl_certificate"\ncommon_name = "{userName}"\n'
            'subject_alt_name = "{userName}"'
        ),
        "tenants.b.authentication.subject_alt_name: can't stand beside common_name",
    ),
    "a way in beside none": (
        '[[tenants.b.further_authentication]]\nmethod = "kerberos"',
        "tenants.b.further_authentication: stands beside methods",
    ),
    "keys that nobody declares": (
        (
            '[tenants.b]\ntargets=["main"]\n[tenants.b.authentication]\nmethod = "ssh_key"\n'
            'keys = "urn:x:y:2.0:Z:keys"'
        ),
        "tenants.b.authentication.keys: urn:x:y:2.0:Z:keys is no string that schemas declares",
    ),
    "a role that holds itself": (
        (
            '[tenants.b]\ntargets=["main"]\n[tenants.b.roles.r]\nparents = ["s"]\n'
            '[tenants.b.roles.s]\nparents = ["r"]'
        ),
        "tenants.b.roles.r.parents: r would hold itself",
    ),
    "a protected parent": (
        '[tenants.b]\ntargets=["main"]\n[tenants.b.roles.r]\nparents = ["admin"]',
        "tenants.b.roles.r.parents: role admin belongs to the server's administrators",
    ),
    "no interval": (
        '[tenants.b.roles.r.quota]\n"1 fortnight" = { queries = 1 }',
        "tenants.b.roles.r.quota.1 fortnight: is no interval",
    ),
    "no limit": (
        '[tenants.b.roles.r.quota]\n"1 day" = {}',
        "tenants.b.roles.r.quota: has no limit for 1 day",
    ),
    "an unknown limit": (
        '[tenants.b.roles.r.quota]\n"1 day" = { sighs = 1 }',
        "tenants.b.roles.r.quota.1 day.sighs: must be one of",
    ),
    "an unknown bound": (
        "[tenants.b.roles.r]\nsettings = { max_threads = { most = 1 } }",
        "tenants.b.roles.r.settings.max_threads.most: is no known key",
    ),
    "a filter table without a filter": (
        '[tenants.b.roles.r]\nrow_filters = { "a.b" = { restrictive = true } }',
        "tenants.b.roles.r.row_filters.a.b.filter: is missing",
    ),
    "created roles without a beginning": (
        '[tenants.b]\nunmapped_groups = "create"',
        "tenants.b.role_prefix: is missing",
    ),
    "created roles of the software's own": (
        '[tenants.b]\ntargets=["main"]\nunmapped_groups = "create"\nrole_prefix = "scim_x"',
        "tenants.b.role_prefix: scim_x begins with scim_",
    ),
    "a target of others": (
        '[tenants.b]\ntargets=["main"]\n[[tenants.b.groups]]\ngroup="g"\nroles=["r"]\ntargets=["elsewhere"]',
        "tenants.b.groups[0].targets: elsewhere is no target of this tenant",
    ),
    "a pattern without a wildcard": (
        '[[tenants.b.groups]]\npattern = "g"\nroles = ["r"]',
        "tenants.b.groups[0].pattern: has no * and no ?",
    ),
    "a place that no wildcard fills": (
        '[[tenants.b.groups]]\npattern = "g*"\nroles = ["{2}"]',
        "tenants.b.groups[0].roles: {2} asks for {2}, but the pattern's wildcards are 1",
    ),
    "a place without a pattern": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = ["{1}_x"]',
        "tenants.b.groups[0].roles: {1}_x asks for {1}, which only a pattern has",
    ),
    "a protected role out of a pattern": (
        '[tenants.b]\ntargets=["main"]\n[[tenants.b.groups]]\npattern = "g*"\nroles = ["scim_{1}"]',
        "tenants.b.groups[0].roles: role scim_{1} begins with scim_",
    ),
    "an end that is a text": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = ["r"]\nuntil = "2030-01-01"',
        "tenants.b.groups[0].until: must be a time without quotes",
    ),
    "an end beyond time": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = ["r"]\nuntil = 2200-01-01T00:00:00Z',
        "tenants.b.groups[0].until: must be before 2106",
    ),
    "an end in an attribute that is nowhere": (
        '[tenants.b]\ntargets=["main"]\nuntil_attribute = "urn:x:y:2.0:Z:endsAt"',
        "tenants.b.until_attribute: urn:x:y:2.0:Z:endsAt is no attribute that schemas declares",
    ),
    "an end in no attribute": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = ["r"]\nuntil_attribute = "endsAt"',
        "tenants.b.groups[0].until_attribute: is no attribute",
    ),
    "every network": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = ["r"]\nnetworks = ["0.0.0.0/0"]',
        "tenants.b.groups[0].networks[0]: is every address",
    ),
    "purge": ("[tenants.b]\npurge_after_days = 3", "tenants.b.purge_after_days: belongs to"),
    "no method": ("[tenants.b.authentication]", "tenants.b.authentication.method: needs a method"),
    "method": (
        '[tenants.b.authentication]\nmethod = "ldpa"',
        "tenants.b.authentication.method: ldpa is no method; allowed: ldap",
    ),
    "later method": (
        '[tenants.b.authentication]\nmethod = "jwt"',
        "tenants.b.authentication.method: jwt is beyond this version",
    ),
    "other method's key": (
        '[tenants.b.authentication]\nmethod = "kerberos"\nserver = "x"',
        "tenants.b.authentication.server: is no known key; allowed: method, realm",
    ),
    "method's key missing": (
        '[tenants.b.authentication]\nmethod = "http"',
        "tenants.b.authentication.server: is missing",
    ),
    "no_password far away": (
        '[targets.far]\nhosts=["ch"]\n[tenants.b]\ntargets=["far"]\nauthentication.method="no_password"',
        "tenants.b.authentication.method: no_password lets everybody in",
    ),
    "group and external_id": (
        '[[tenants.b.groups]]\ngroup = "g"\nexternal_id = "e"\nroles = ["r"]',
        "tenants.b.groups[0].external_id: can't stand beside group",
    ),
    "neither": (
        '[[tenants.b.groups]]\nroles = ["r"]',
        "tenants.b.groups[0].group: is missing; add group, external_id or pattern",
    ),
    "no roles": (
        '[[tenants.b.groups]]\ngroup = "g"\nroles = []',
        "tenants.b.groups[0].roles: must have at least one entry",
    ),
    "protected default role": (
        '[tenants.b]\ntargets=["main"]\ndefault_roles = ["Admin"]',
        "tenants.b.default_roles: role Admin belongs to the server's administrators",
    ),
    "protected mapped role": (
        '[tenants.b]\ntargets=["main"]\n[[tenants.b.groups]]\ngroup = "g"\nroles = ["default"]',
        "tenants.b.groups[0].roles: role default belongs",
    ),
    "reserved defined role": (
        '[tenants.b]\ntargets=["main"]\n[tenants.b.roles.SCIM_x]',
        "tenants.b.roles.SCIM_x: role SCIM_x begins with scim_",
    ),
    "marker as role": (
        '[tenants.b]\ntargets=["main"]\nmarker_role = "mine"\ndefault_roles = ["mine"]',
        "tenants.b.default_roles: role mine marks who is managed",
    ),
    "grant": (
        '[tenants.b.roles.r]\ngrants = ["SELECT ON a.*", "ALL ON *.*"]',
        "tenants.b.roles.r.grants[1]: ALL can't be handed out",
    ),
    "grant number": (
        "[tenants.b.roles.r]\ngrants = [1]",
        "tenants.b.roles.r.grants[0]: must be te",
    ),
    "setting": (
        "[tenants.b.roles.r]\nsettings = { x = [] }",
        "tenants.b.roles.r.settings.x: must be a number, text, true or false",
    ),
    "setting's name": (
        '[tenants.b.roles.r]\nsettings = { "x y" = 1 }',
        "tenants.b.roles.r.settings.x y: is no such name",
    ),
    "role's name": (
        '[tenants.b.roles."a\\nb"]',
        "tenants.b.roles.a\\nb: has an unprintable character",
    ),
    "row filter": (
        '[tenants.b.roles.r]\nrow_filters = { "a.b" = "1; x" }',
        "tenants.b.roles.r.row_filters.a.b: has ';'",
    ),
    "row filter's table": (
        '[tenants.b.roles.r]\nrow_filters = { "b" = "1" }',
        "tenants.b.roles.r.row_filters.b: is no table",
    ),
    "unprintable": (
        '[tenants.b]\nmarker_role = "a\\u0000"',
        "tenants.b.marker_role: has an unprin",
    ),
    "too long": (
        f'[tenants.b]\nmarker_role = "{"a" * 257}"',
        "tenants.b.marker_role: must have at",
    ),
    "empty text": ('[tenants.b]\nmarker_role = ""', "tenants.b.marker_role: must not be empty"),
}


@pytest.mark.parametrize(("text", "line"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_under_its_key(tmp_path: Path, text: str, line: str) -> None:
    told = problems(tmp_path, MINIMAL + text)
    keys = [one.partition(": ")[0] for one in told]
    assert [one for one in told if one.startswith(line)], told
    if "beyond this version" in "".join(told):
        assert len(keys) == len(set(keys)), "one mistake, one line"
    assert all("\n" not in one and "pydantic" not in one.lower() for one in told)


REDIS = {
    "missing": ("[redis]", "redis.url: is missing"),
    "other scheme": ('[redis]\nurl = "http://x"', "redis.url: must begin with redis://"),
    "password": ('[redis]\nurl = "redis://:hunter2@x"', "redis.url: holds a password, which never"),
    "password in query": ('[redis]\nurl = "redis://x?password=hunter2"', "redis.url: holds a pass"),
    "bad port": ('[redis]\nurl = "redis://x:y"', "redis.url: is no URL"),
}


@pytest.mark.parametrize(("text", "line"), REDIS.values(), ids=REDIS.keys())
def test_a_bad_redis_is_told_without_its_secret(tmp_path: Path, text: str, line: str) -> None:
    told = problems(tmp_path, text + MINIMAL.partition('/0"')[2])
    assert told[0].startswith(line)
    assert "hunter2" not in "".join(told)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        MINIMAL + 'on_delete = "x"\ndefault_roles = ["admin"]\nuser_name = "{userName|localpart}"\n'
        '[receiver]\nport = "x"\n[tenants.b]\ntargets = ["nope"]\nfoo = 1\n[targets.x]\n'
        'hosts = ["x"]\npassword_env = "NOPE"\n',
    )
    assert [line.partition(":")[0] for line in told] == [
        "receiver.port",
        "tenants.acme.on_delete",
        "tenants.b.foo",
        "tenants.acme.user_name",
        "tenants.acme.default_roles",
        "tenants.b.targets",
        "targets.x.password_env",
    ]


def test_a_broken_key_causes_no_second_complaint(tmp_path: Path) -> None:
    """`{userName}`, the default in place of what is broken, would collide with acme's."""
    told = problems(
        tmp_path, MINIMAL + '[tenants.b]\ntargets=["main"]\nmarker_role="m"\nuser_name="x"\n'
    )
    assert [line.partition(":")[0] for line in told] == ["tenants.b.user_name"]


def test_an_empty_file_says_what_it_needs(tmp_path: Path) -> None:
    assert [line.partition(";")[0] for line in problems(tmp_path, "")] == [
        "targets: is missing",
        "tenants: is missing",
        "redis.url: is missing",
    ]


def test_a_syntax_error_has_line_and_column(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, "[redis]\nurl = redis\n")
    assert told.endswith(": line 2, column 7: invalid value; mend the TOML there")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"x\.toml: is no UTF-8 text \(byte 6\)"):
        load(path, {})


@pytest.mark.parametrize("name", ["missing.toml", "."], ids=["missing", "a folder"])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be read: "):
        load(tmp_path / name, {})


SECOND = '[tenants.b]\ntargets = ["main"]\nmarker_role = "m"\n'
APART = {
    "prefixes": ('user_name = "{tenant}__{userName}"', 'user_name = "{tenant}__{userName}"'),
    "suffixes": ('user_name = "{userName}@a"', 'user_name = "{userName}@b"'),
    "domains": ('verified_domains = ["a.example"]', 'verified_domains = ["b.example"]'),
}
TOGETHER = {
    "bare": ("", ""),
    "bare and prefixed": ("", 'user_name = "b_{userName}"'),
    "prefix of a prefix": ('user_name = "a{userName}"', 'user_name = "ab{userName}"'),
    "prefixes by case": ('user_name = "A{userName}"', 'user_name = "a{userName}"'),
    "one domain": ('verified_domains = ["a.example"]', 'verified_domains = ["A.EXAMPLE"]'),
    "domains on one side": ('verified_domains = ["a.example"]', ""),
    "domains and local parts": (
        'verified_domains = ["a.example"]\nuser_name = "{userName|localpart}"',
        'verified_domains = ["b.example"]\nuser_name = "{userName|localpart}"',
    ),
}


@pytest.mark.parametrize(("first", "second"), APART.values(), ids=APART.keys())
def test_tenants_share_a_target_if_their_names_cannot_collide(
    tmp_path: Path, first: str, second: str
) -> None:
    assert len(read(tmp_path, f"{MINIMAL}{first}\n{SECOND}{second}\n").tenants) == 2


@pytest.mark.parametrize(("first", "second"), TOGETHER.values(), ids=TOGETHER.keys())
def test_tenants_whose_names_can_collide_are_refused(
    tmp_path: Path, first: str, second: str
) -> None:
    (told,) = problems(tmp_path, f"{MINIMAL}{first}\n{SECOND}{second}\n")
    assert told.startswith("tenants.b.user_name: shares target main with tenant acme")


def test_colliding_names_on_different_targets_are_fine(tmp_path: Path) -> None:
    text = MINIMAL + SECOND.replace("main", "other") + '[targets.other]\nhosts = ["x"]\n'
    assert len(read(tmp_path, text).tenants) == 2


def test_a_thousand_tenants_on_one_target_are_checked_in_a_moment(tmp_path: Path) -> None:
    """All pairs are compared: measured, it takes 0.2 s; 6 s when each comparison folded names."""
    tenants = "".join(
        f'[tenants.t{at}]\ntargets = ["main"]\nmarker_role = "m{at}"\n'
        'user_name = "{tenant}__{userName}"\nroles.r.grants = ["SELECT ON a.*"]\n'
        for at in range(1000)
    )
    started = time.process_time()
    assert len(read(tmp_path, MINIMAL.partition("[tenants")[0] + tenants).tenants) == 1000
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("second", "line"),
    [
        ('user_name = "{tenant}{userName}"', "tenants.b.marker_role: shares target main"),
        (
            'marker_role = "m"\nuser_name = "b{userName}"\ndefault_roles = ["mine"]',
            "tenants.b.default_roles: role mine marks the users of tenant acme",
        ),
        (
            'marker_role = "m"\nuser_name = "b{userName}"\nroles.r.grants = ["SELECT ON b.*"]',
            "tenants.b.roles.r: shares target main with tenant acme, which defines it differently",
        ),
    ],
    ids=["marker", "marker as role", "role defined differently"],
)
def test_nothing_crosses_between_two_tenants(tmp_path: Path, second: str, line: str) -> None:
    marker = "scim_managed" if "marker_role: " in line else "mine"
    first = f'user_name = "a{{userName}}"\nmarker_role = "{marker}"\n'
    roles = 'roles.r.grants = ["SELECT ON a.*"]\n' if "roles" in second else ""
    told = problems(tmp_path, f'{MINIMAL}{first}{roles}[tenants.b]\ntargets = ["main"]\n{second}')
    assert [one for one in told if one.startswith(line)], told
