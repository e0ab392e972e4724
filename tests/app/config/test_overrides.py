from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.config.load import load
from app.config.overrides import apply, without_overrides
from app.errors import ConfigError

FILE = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.eu_1]
hosts = ["127.0.0.1:9000"]
[tenants.acme-corp]
targets = ["eu_1"]
[tenants.acme-corp.roles."Data analyst"]
settings = { max_threads = 1 }
"""

GOOD: dict[str, tuple[str, str, list[str], Any]] = {
    "text": (
        "TENANTS__ACME_CORP__ON_DELETE",
        "lock",
        ["tenants", "acme-corp", "on_delete"],
        "lock",
    ),
    "lower case": (
        "tenants__acme_corp__on_delete",
        "lock",
        ["tenants", "acme-corp", "on_delete"],
        "lock",
    ),
    "number": ("RECEIVER__PORT", "9001", ["receiver", "port"], 9001),
    "fraction": ("WORKER__LEASE_SECONDS", "2.5", ["worker", "lease_seconds"], 2.5),
    "flag": ("TARGETS__EU_1__SECURE", "true", ["targets", "eu_1", "secure"], True),
    "list": ("TARGETS__EU_1__HOSTS", '["a:1", "b"]', ["targets", "eu_1", "hosts"], ["a:1", "b"]),
    "digits as text": ("TARGETS__EU_1__DATABASE", "2024", ["targets", "eu_1", "database"], "2024"),
    "quoted text": ("TARGETS__EU_1__DATABASE", '"2024"', ["targets", "eu_1", "database"], "2024"),
    "tables": (
        "TENANTS__ACME_CORP__GROUPS",
        '[{group = "g", roles = ["r"]}]',
        ["tenants", "acme-corp", "groups"],
        [{"group": "g", "roles": ["r"]}],
    ),
    "key of a method": (
        "TENANTS__ACME_CORP__AUTHENTICATION__METHOD",
        "kerberos",
        ["tenants", "acme-corp", "authentication", "method"],
        "kerberos",
    ),
    "setting": (
        "TENANTS__ACME_CORP__ROLES__DATA ANALYST__SETTINGS__MAX_THREADS",
        "8",
        ["tenants", "acme-corp", "roles", "Data analyst", "settings", "max_threads"],
        8,
    ),
}


def raw() -> dict[str, Any]:
    import tomllib  # noqa: PLC0415

    return tomllib.loads(FILE)


@pytest.mark.parametrize(("name", "text", "path", "value"), GOOD.values(), ids=GOOD.keys())
def test_a_variable_stands_over_the_file(name: str, text: str, path: list[str], value: Any) -> None:
    before = raw()
    applied = apply(before, {f"CLICKHOUSE_SCIM__{name}": text, "PATH": "/bin"})
    found: Any = applied.raw
    for key in path:
        found = found[key]
    assert (found, type(found), applied.problems) == (value, type(value), ())
    assert before == raw()


BAD = {
    "unknown table": ("RECIEVER__PORT", "fits no key of the file; did you mean RECEIVER?"),
    "unknown key": ("RECEIVER__PROT", "fits no key of receiver; did you mean PORT?"),
    "unknown tenant": (
        "TENANTS__OTHER__ON_DELETE",
        "fits no key of tenants; known there: acme-cor",
    ),
    "deeper than the file": ("RECEIVER__PORT__X", "fits no key of receiver.port"),
    "nothing": ("", "fits no key of the file"),
}


@pytest.mark.parametrize(("name", "reason"), BAD.values(), ids=BAD.keys())
def test_a_variable_that_fits_nothing_is_a_mistake(name: str, reason: str) -> None:
    (problem,) = apply(raw(), {f"CLICKHOUSE_SCIM__{name}": "1"}).problems
    assert problem.key == f"CLICKHOUSE_SCIM__{name}"
    assert problem.reason.startswith(reason)


def test_a_variable_that_fits_two_names_is_a_mistake() -> None:
    both = raw()
    both["targets"]["eu-1"] = {}
    (problem,) = apply(both, {"CLICKHOUSE_SCIM__TARGETS__EU_1__SECURE": "true"}).problems
    assert problem.reason.startswith("fits eu_1 and eu-1 of targets")


def test_a_mistake_in_a_variable_names_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(FILE)
    with pytest.raises(ConfigError) as error:
        load(path, {"CLICKHOUSE_SCIM__RECEIVER__PORT": "many"})
    assert str(error.value) == (
        "receiver.port: must be a whole number, without quotes"
        " (set by CLICKHOUSE_SCIM__RECEIVER__PORT)"
    )


def test_other_variables_are_left_to_others() -> None:
    environ = {"CLICKHOUSE_SCIM_CONFIG": "x", "clickhouse_scim__a": "1", "HOME": "/"}
    assert without_overrides(environ) == {"CLICKHOUSE_SCIM_CONFIG": "x", "HOME": "/"}
