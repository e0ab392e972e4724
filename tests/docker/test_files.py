"""What is under docker/: valid by its own tools, and true to the code."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from app.cli.main import main
from app.directory.link import check_durable, connect
from workers.access.statements import ledger_rights

if TYPE_CHECKING:
    from tests.conftest import ClickHouseServer, RedisServer

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
DOCKERFILE = (DOCKER / "Dockerfile").read_text("utf-8")
PASSWORDS = (
    "clickhouse_password",
    "grafana_password",
    "ledger_password",
    "provisioner_password",
    "redis_password",
)


def test_the_compose_file_fits_its_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    ran = subprocess.run(
        [*command, str(DOCKER / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout


def test_the_dockerfile_is_linted() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if (sys.platform, platform.machine()) == ("linux", "x86_64"):
        assert hadolint is not None, "make install brings it"
    if hadolint is not None:
        ran = subprocess.run(
            [hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
        )
        assert ran.stdout == ""


def test_every_image_is_of_a_version_and_every_mounted_file_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        image = service["image"]
        assert image == "clickhouse-scim" or re.search(r":v?\d+\.\d+", image), image
        for mount in service.get("volumes", []):
            source = mount.partition(":")[0]
            if source.startswith("."):
                assert (DOCKER / source).exists(), (name, source)
            else:
                assert source in COMPOSE["volumes"]
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])


def test_our_services_can_change_nothing_and_only_the_proxy_is_outside() -> None:
    for name in ("receiver", "worker"):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["deploy"]["replicas"] == 2
        assert "ports" not in service
        assert service["networks"] == ["inside"]
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert "@scim path /scim/*" in (DOCKER / "Caddyfile").read_text("utf-8")
    open_ports = {name for name, one in COMPOSE["services"].items() if "ports" in one}
    assert open_ports == {"proxy", "grafana"}
    assert COMPOSE["services"]["grafana"]["ports"] == ["127.0.0.1:3000:3000"]


@pytest.mark.parametrize("name", ["cluster.xml", "keeper.xml"])
def test_the_configuration_of_clickhouse_is_xml(name: str) -> None:
    root = ET.parse(DOCKER / "clickhouse" / name).getroot()
    assert root.tag == "clickhouse"
    named = {host.text for host in root.iter() if host.tag in {"host", "hostname"}}
    assert named <= set(COMPOSE["services"])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of the compose file, with secrets where a test can put them."""
    for name in PASSWORDS:
        (tmp_path / name).write_text("x")
    file = tmp_path / "clickhouse-scim.toml"
    text = (DOCKER / "clickhouse-scim.toml").read_text("utf-8")
    file.write_text(text.replace("/run/secrets", str(tmp_path)))
    return file


def test_the_configuration_has_no_mistakes_and_the_account_its_rights(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", str(config)]) == 0
    capsys.readouterr()
    assert main(["provisioner-grants", "acme", "main", "--config", str(config)]) == 0
    printed = capsys.readouterr().out
    there = (DOCKER / "clickhouse/provisioner.sql").read_text("utf-8")
    assert printed == there, "put what provisioner-grants prints into provisioner.sql"


CLIENT = """#!{python}
import asyncio, sys
from workers.clickhouse.pool import Endpoint, Pool
async def run():
    pool = Pool(Endpoint(hosts=(("127.0.0.1", {port}),), user="default"))
    async with pool.session() as session:
        for statement in filter(str.strip, sys.stdin.read().split(";\\n")):
            await session.query(statement)
    await pool.close()
asyncio.run(run())
"""


def test_the_accounts_that_a_replica_makes_can_do_their_work(
    config: Path,
    own_clickhouse: ClickHouseServer,
    own_redis: RedisServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Twice, since it runs at each start; then as the ledger's and the workers' account."""
    client = tmp_path / "clickhouse-client"
    client.write_text(CLIENT.format(python=sys.executable, port=own_clickhouse.port))
    client.chmod(0o755)
    script = (DOCKER / "clickhouse/accounts.sh").read_text("utf-8")
    script = script.replace("/run/secrets", str(tmp_path))
    script = script.replace("/etc/clickhouse-scim", str(DOCKER / "clickhouse"))
    environ = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    for _ in range(2):
        subprocess.run(["sh", "-c", script], check=True, env=environ)
    text = re.sub(r"clickhouse-[12]:9000", f"127.0.0.1:{own_clickhouse.port}", config.read_text())
    text = text.replace("redis://redis:6379/0", own_redis.url).replace(
        f'["127.0.0.1:{own_clickhouse.port}", "127.0.0.1:{own_clickhouse.port}"]',
        f'["127.0.0.1:{own_clickhouse.port}"]',
    )
    text = text.replace(f'password_file = "{tmp_path}/redis_password"', "")
    config.write_text(text)
    assert main(["migrate", "--config", str(config)]) == 0
    capsys.readouterr()
    assert main(["doctor", "--json", "--config", str(config)]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [row["finding"] for row in rows if row["status"] != "ok"] == ["it has no token"]


def test_the_ledgers_account_has_the_rights_that_its_page_names() -> None:
    page = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    ((grant, names),) = re.findall(r"^(GRANT (.*) ON scim\.\* TO ledger;)$", page, re.MULTILINE)
    assert grant in (DOCKER / "clickhouse/ledger.sql").read_text("utf-8")
    needed = [name for right in ledger_rights("scim") for name, _ in right.privilege.access]
    assert names.split(", ") == needed


async def test_redis_as_configured_keeps_what_it_acknowledges(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    own_redis.stop()
    text = (DOCKER / "redis.conf").read_text("utf-8").replace("/data", str(own_redis.data_dir))
    (tmp_path / "redis.conf").write_text(text)
    settings = [word for line in text.splitlines() if line[:1] != "#" for word in _setting(line)]
    server = type(own_redis)(own_redis.port, own_redis.data_dir, tuple(settings))
    server.start()
    link = connect(server.url)
    await check_durable(link)
    await link.close()
    server.stop()


def _setting(line: str) -> list[str]:
    name, value = line.split()
    return [f"--{name}", value]


def test_secrets_are_made_once_in_a_folder_that_is_ours_alone(tmp_path: Path) -> None:
    script = tmp_path / "secrets.sh"
    shutil.copy(DOCKER / "secrets.sh", script)
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    folder = tmp_path / "secrets"
    made = {file.name: file.read_text() for file in folder.iterdir()}
    assert set(made) == set(PASSWORDS) == set(COMPOSE["secrets"])
    assert all(re.fullmatch(r"[0-9a-f]{48}", password) for password in made.values())
    assert len(set(made.values())) == len(made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    subprocess.run(["sh", str(script)], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == made


@pytest.mark.parametrize("name", ["receiver", "worker"])
def test_the_units_of_systemd_run_our_commands_without_any_privilege(name: str) -> None:
    text = (DOCKER / f"systemd/clickhouse-scim-{name}.service").read_text("utf-8")
    lines = [line.partition("=") for line in text.splitlines() if "=" in line and line[0] != "#"]
    unit: dict[str, Any] = {key: value for key, _, value in lines}
    program, *arguments = unit["ExecStart"].split()
    assert program.endswith("/bin/clickhouse-scim")
    assert arguments == [name, "--config", "/etc/clickhouse-scim/clickhouse-scim.toml"]
    assert unit["RestartPreventExitStatus"] == "2"
    assert unit["CapabilityBoundingSet"] == ""
    assert {unit[key] for key in ("DynamicUser", "NoNewPrivileges", "PrivateTmp")} == {"yes"}


def test_the_steps_of_the_image_make_a_command_that_runs(tmp_path: Path, config: Path) -> None:
    """What the builder copies and runs, in a plain virtual environment."""
    source, made = tmp_path / "src", tmp_path / "made"
    source.mkdir()
    build = DOCKERFILE.partition("AS build\n")[2].partition("\nFROM ")[0]
    for names, target in re.findall(r"^COPY (.+) (\S+)$", build, re.MULTILINE):
        for name in names.split():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / target)
            else:
                shutil.copy(ROOT / name, source / name)
    (steps,) = re.findall(r"^RUN ((?:.*\\\n)*.*)$", build, re.MULTILINE)
    # With pip's cache, which an image would only carry around.
    steps = (
        steps.replace("--no-cache-dir", "")
        .replace("/opt/clickhouse-scim", str(made))
        .replace("python -m venv", f"{sys.executable} -m venv")
    )
    ran = subprocess.run(
        ["sh", "-c", steps], cwd=source, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    command = made / "bin" / "clickhouse-scim"
    for arguments in (["--version"], ["check-config", str(config)], ["receiver", "--help"]):
        done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    code = (
        "import app.directory.scripts as s, workers.ledger.schema as l;"
        "print(s._source('write')[:2], l.head())"
    )
    printed = subprocess.run(
        [made / "bin" / "python", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert printed.stdout.startswith("-- ")
    packages = subprocess.run(
        [made / "bin" / "python", "-m", "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(r"chdb|falkordb|pytest|mypy", packages), "nothing of development"
