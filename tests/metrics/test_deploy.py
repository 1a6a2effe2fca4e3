"""The dashboard and alerts in deploy/ use metrics that the gateway exports."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from metrics.prometheus import Format, describe, exposition
from tests.metrics.events import finished
from tests.metrics.harness import Harness, ok
from tests.needs import skip_or_fail

DEPLOY = Path(__file__).parents[2] / "deploy"
RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks.md"
SUFFIXES_OF = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SUFFIXES = ("", "_total", "_bucket", "_sum", "_count")


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_every_series_it_queries_is_exported(name: str) -> None:
    exported = {f"{metric.name}{suffix}" for metric in describe() for suffix in SUFFIXES_OF[metric.type]}
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


def test_rates_are_zero_where_nothing_of_their_kind_was_counted() -> None:
    """A sum of no series is no value: a panel would be empty while all is well."""
    board = json.loads((DEPLOY / "grafana.json").read_text())
    ratios = [
        target["expr"] for panel in board["panels"] for target in panel.get("targets", ()) if ") / " in target["expr"]
    ]
    counted = [expression for expression in ratios if "_total{" in expression]
    assert len(counted) == 4
    assert [expression for expression in counted if " or " not in expression.partition(" / ")[0]] == []


def test_a_gateway_that_is_not_scraped_does_not_look_well() -> None:
    """A constant in place of missing series is drawn for a gateway that is down too, unless it is divided by some."""
    board = json.loads((DEPLOY / "grafana.json").read_text())
    constant = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert [expression for expression in constant if expression.endswith("or vector(0)")] == []


@pytest.fixture(scope="module")
def promtool() -> str:
    return shutil.which("promtool") or skip_or_fail("promtool is not installed (Debian package prometheus)")


def test_promtool_accepts_the_rules(promtool: str) -> None:
    checked = subprocess.run(
        [promtool, "check", "rules", DEPLOY / "alerts.yaml"], capture_output=True, check=False, text=True
    )
    assert checked.returncode == 0, checked.stderr
    assert "11 rules found" in checked.stdout


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
    cells = [cell for panel in board["panels"] for cell in covered(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert {x for x, _ in cells} == set(range(24))
    assert [panel["title"] for panel in board["panels"] if panel["type"] != "row" and not panel["description"]] == []
    assert all(rule["annotations"]["summary"] for group in rules["groups"] for rule in group["rules"])


def covered(place: dict[str, int]) -> list[tuple[int, int]]:
    """The cells of Grafana's grid that a panel covers."""
    columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return [(x, y) for x in columns for y in rows]


def test_the_dashboard_has_rate_errors_and_duration_of_each_service_and_a_row_for_each_part() -> None:
    rows: dict[str, list[str]] = {}
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        if panel["type"] == "row":
            title = panel["title"]
            rows[title] = []
            assert panel.get("repeat") == ("service" if "$service" in title else None)
        else:
            rows[title] += [target["expr"] for target in panel["targets"]]
    expected = ["All selected services", "$service: rate, errors, duration", "Cache", "Circuits and backends"]
    assert list(rows) == [*expected, "Redis", "Workers"]
    service = " ".join(rows["$service: rate, errors, duration"])
    for name in ("gateway_requests_total", "gateway_request_duration_seconds", "gateway_backend_duration_seconds"):
        assert name in service
    assert all('service=~"$service"' in expression for expression in rows["$service: rate, errors, duration"])


def test_every_metric_is_on_the_dashboard_or_is_seen_elsewhere() -> None:
    text = (DEPLOY / "grafana.json").read_text()
    unseen = {metric.name for metric in describe() if metric.name not in text}
    assert unseen == {
        "gateway_slo_target",
        "gateway_slo_burn_rate",
        "gateway_watches",
        "gateway_watch_seconds_left",
        "gateway_service_config_valid",
    }


def test_every_alert_has_a_runbook_and_names_it() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE)
    rules = [
        rule for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
    ]
    assert sorted(rule["alert"] for rule in rules) == sorted(headings)
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
