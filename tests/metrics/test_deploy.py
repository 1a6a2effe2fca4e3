"""The dashboard and alerts in deploy/ use metrics that the gateway exports."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from metrics.prometheus import Format, describe, exposition, families
from tests.metrics.events import finished
from tests.metrics.harness import Harness, ok
from tests.needs import skip_or_fail

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_every_series_it_queries_is_exported(harness: Harness, name: str) -> None:
    harness.serve(ok())
    harness.observer.finished(finished(backend=0.1, cache="HIT"))
    harness.observer.circuit_changed("crm", "CLOSED", "OPEN", "")
    exported = {sample.name for family in families() for sample in family.samples}
    queried = set(re.findall(r"\bgateway_[a-z_]+", (DEPLOY / name).read_text()))
    assert queried
    assert queried <= exported


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_every_label_it_queries_is_one_of_the_series(name: str) -> None:
    labels = {f"{metric.name}{suffix}": set(metric._labelnames) for metric in describe() for suffix in SUFFIXES}  # type: ignore[attr-defined]
    text = (DEPLOY / name).read_text().replace('\\"', '"')
    selectors = re.findall(r"\b(gateway_[a-z_]+)\{([^}]*)\}", text)
    assert selectors
    for series, matchers in selectors:
        assert set(re.findall(r"([a-z_]+)\s*[=!]~?", matchers)) <= labels[series], series


@pytest.fixture(scope="module")
def promtool() -> str:
    return shutil.which("promtool") or skip_or_fail("promtool is not installed (Debian package prometheus)")


def test_promtool_accepts_the_rules(promtool: str) -> None:
    checked = subprocess.run(
        [promtool, "check", "rules", DEPLOY / "alerts.yaml"], capture_output=True, check=False, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "9 rules found" in checked.stdout


@pytest.mark.django_db
def test_promtool_accepts_the_metrics_page(promtool: str, harness: Harness) -> None:
    harness.serve(ok())
    harness.observer.finished(finished(backend=0.1, cache="HIT", retries=1))
    harness.observer.circuit_changed("crm", "CLOSED", "OPEN", "")
    page, _ = exposition(Format.TEXT)
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_files_are_well_formed() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) > 10
    assert all(rule["annotations"]["summary"] for group in rules["groups"] for rule in group["rules"])


def test_every_alert_has_a_runbook_and_names_it() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    rules = [
        rule for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]
    assert sorted(rule["alert"] for rule in rules) == sorted(headings)
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
