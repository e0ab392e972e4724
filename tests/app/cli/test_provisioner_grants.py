from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app.cli.main import main

CONFIG = """
[redis]
url = "redis://127.0.0.1:6379/0"
[targets.eu]
hosts = ["ch-eu-1:9000"]
user = "the `provisioner`"
[targets.us]
hosts = ["ch-us-1:9000"]
[tenants.acme]
targets = ["eu"]
[tenants.acme.roles.analyst]
grants = ["SELECT ON analytics.*", "SELECT(id, country) ON crm.customers"]
row_filters = { "analytics.orders" = "tenant = 'acme'" }
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(CONFIG)
    return str(file)


def test_the_statements_follow_account_and_roles(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provisioner-grants", "acme", "eu", "--config", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("GRANT ") and line.endswith(";") for line in lines)
    assert all("TO `the \\`provisioner\\``" in line for line in lines)
    account = r"`the \`provisioner\``"
    assert f"GRANT SELECT ON `analytics`.* TO {account} WITH GRANT OPTION;" in lines
    assert any("ROW POLICY ON `analytics`.`orders`" in line for line in lines)


def test_json_has_the_same_statements(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["provisioner-grants", "acme", "eu", "--config", config])
    text = capsys.readouterr().out
    assert main(["provisioner-grants", "acme", "eu", "--config", config, "--json"]) == 0
    rows = msgspec.json.decode(capsys.readouterr().out)
    assert "".join(f"{row['statement']};\n" for row in rows) == text


@pytest.mark.parametrize(
    ("tenant", "target", "why"),
    [
        ("acme", "us", "tenant acme has no target 'us'; the configuration has: eu."),
        ("acne", "eu", "there is no tenant 'acne'; did you mean acme?"),
    ],
)
def test_what_the_configuration_does_not_have_is_wrong_usage(
    tenant: str, target: str, why: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["provisioner-grants", tenant, target, "--config", config]) == 2
    assert why in capsys.readouterr().err
