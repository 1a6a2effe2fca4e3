"""One version, wherever it is named."""

import re
import tomllib

import pytest
import yaml
from django.apps import apps
from django.conf import settings
from django.db.migrations.loader import MigrationLoader

from gateway_project.version import RELEASES, VERSION
from tests.system.server import ROOT
from tests.upgrades.releases import COMMITS


def test_everything_names_the_same_version() -> None:
    chart = yaml.safe_load((ROOT / "deploy/helm/intelligence-gateway/Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [project["version"], chart["version"], chart["appVersion"], settings.SPECTACULAR_SETTINGS["VERSION"]]
    assert named == [VERSION] * 4
    for path in ("deploy/cloudrun/service.yaml", "deploy/cloudrun/migrate.yaml", "docs/deployment.md"):
        text = (ROOT / path).read_text()
        assert set(re.findall(r"(?:intelligence-gateway[:-]|tag: )(\d+\.\d+\.\d+)", text)) == {VERSION}


def test_the_changelog_has_every_release() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings == ["Unreleased", *reversed(list(RELEASES))]
    assert list(COMMITS) == list(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_the_last_migrations_of_releases_exist(release: str) -> None:
    nodes = MigrationLoader(None).graph.nodes
    own = {app.label for app in apps.get_app_configs() if app.label in ("metrics", "routing")}
    assert RELEASES[release].keys() == own
    assert all(node in nodes for node in RELEASES[release].items())
