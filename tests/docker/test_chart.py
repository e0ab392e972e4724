"""The Helm chart, rendered by Helm itself with the values of its page."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.cli.main import cli
from app.config.load import load

ROOT = Path(__file__).parents[2]
CHART = ROOT / "docker" / "helm" / "clickhouse-scim"
PAGE = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
# The oldest that the chart takes, and the newest.
KUBERNETES = ("1.27", kubernetes_validate.latest_version())
# In a process of its own: Helm is Go, whose runtime takes a process's signals.
INFO = 1
RENDER = """
import json, sys, helm_python as helm
chart, values = sys.argv[1], json.load(sys.stdin)
found = helm.lint(chart, values)
try:
    with helm.Chart.load(chart) as one:
        made, error = one.render(values, name="scim", namespace="prod"), ""
except helm.HelmError as refused:
    made, error = {}, str(refused)
print(json.dumps({"lint": found, "made": made, "error": error}))
"""

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="helm-python-sdk has no wheel for this machine",
)


def rendered(values: dict[str, Any]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", RENDER, str(CHART)],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(json.loads(ran.stdout))


def values_of_the_page() -> dict[str, Any]:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def made() -> dict[tuple[str, str], dict[str, Any]]:
    """What the page's values make, by kind and name."""
    answer = rendered(values_of_the_page())
    assert answer["error"] == ""
    found = [one for one in answer["lint"]["messages"] if one["severity"] > INFO]
    assert found == answer["lint"]["errors"] == []
    texts = [text for name, text in answer["made"].items() if name.endswith(".yaml")]
    objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in objects}


Made = dict[tuple[str, str], dict[str, Any]]


@pytest.mark.parametrize("version", KUBERNETES)
def test_what_it_makes_is_what_kubernetes_knows(made: Made, version: str) -> None:
    for one in made.values():
        kubernetes_validate.validate(one, version, strict=True)


def test_receivers_and_workers_are_two_each_and_can_change_nothing(made: Made) -> None:
    for name in ("receiver", "worker"):
        spec = made["Deployment", f"scim-{name}"]["spec"]
        assert spec["replicas"] == 2
        assert made["PodDisruptionBudget", f"scim-{name}"]["spec"]["maxUnavailable"] == 1
        pod = spec["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()


def test_containers_run_commands_that_there_are_of_this_version(made: Made) -> None:
    for kind, name in (
        ("Deployment", "scim-receiver"),
        ("Deployment", "scim-worker"),
        ("Job", "scim-migrate"),
    ):
        (container,) = made[kind, name]["spec"]["template"]["spec"]["containers"]
        assert container["image"].endswith(f":{__version__}")
        command, *arguments = container["args"]
        found = cli.get_command(click.Context(cli), command)
        assert found is not None
        found.make_context(command, arguments)  # raises UsageError for what it does not take
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["version"] == chart["appVersion"] == __version__


def test_only_scim_comes_in_and_reaches_the_receivers(made: Made) -> None:
    service, ingress = made["Service", "scim"]["spec"], made["Ingress", "scim"]["spec"]
    (rule,) = ingress["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == ["/scim"]
    receiver = made["Deployment", "scim-receiver"]["spec"]["template"]
    assert service["selector"].items() <= receiver["metadata"]["labels"].items()
    worker = made["Deployment", "scim-worker"]["spec"]["template"]
    assert not service["selector"].items() <= worker["metadata"]["labels"].items()
    (container,) = receiver["spec"]["containers"]
    assert container["args"][-1] == str(container["ports"][0]["containerPort"])


def test_the_configuration_is_one_and_a_change_of_it_replaces_pods(
    made: Made, tmp_path: Path
) -> None:
    text = made["ConfigMap", "scim"]["data"]["clickhouse-scim.toml"]
    for name in re.findall(r'"/run/secrets/(\w+)"', text):
        assert f"--from-file={name}" in PAGE
        (tmp_path / name).write_text("x")
    file = tmp_path / "clickhouse-scim.toml"
    file.write_text(text.replace("/run/secrets", str(tmp_path)))
    assert set(load(file, {}).tenants) == {"acme"}
    values = values_of_the_page()
    values["config"] += "\n"
    other = rendered(values)["made"]["clickhouse-scim/templates/processes.yaml"]
    sums = {
        one["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for kind, one in ((one["kind"], one) for one in yaml.safe_load_all(other) if one)
        if kind == "Deployment"
    }
    before = made["Deployment", "scim-worker"]["spec"]["template"]["metadata"]["annotations"]
    assert len(sums) == 1
    assert before["checksum/config"] not in sums


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": ""}, "config is missing"),
        ({"ingress": {"enabled": True, "host": ""}}, "ingress.host is missing"),
        ({"receiver": {"replicas": "two"}}, "got string, want integer"),
        ({"recevier": {"replicas": 2}}, "recevier"),
    ],
    ids=["no configuration", "no host", "a text for a number", "a name that is none"],
)
def test_values_that_can_not_be_meant_are_refused(change: dict[str, Any], told: str) -> None:
    answer = rendered(values_of_the_page() | change)
    assert told in answer["error"]
