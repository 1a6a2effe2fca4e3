"""What deploy/ draws and warns of is what the gateway tells."""

import json
import re
from pathlib import Path

import pytest
import yaml

from metrics.prometheus import families
from tests.metrics.events import finished
from tests.metrics.panel import Panel, ok

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_every_series_it_asks_for_is_there(panel: Panel, name: str) -> None:
    panel.serve(ok())
    panel.counting.finished(finished(backend=0.1, cache="HIT"))
    panel.counting.circuit_changed("crm", "CLOSED", "OPEN", "")
    told = {sample.name for family in families() for sample in family.samples}
    asked = set(re.findall(r"\bgateway_[a-z_]+", (DEPLOY / name).read_text()))
    assert asked
    assert asked <= told


def test_the_files_can_be_read() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers)) > 10
    assert all(rule["annotations"]["summary"] for group in rules["groups"] for rule in group["rules"])
