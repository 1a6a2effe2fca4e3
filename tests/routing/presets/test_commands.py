"""`config presets`, `config preset` and `config export --expand`, and a service with a preset in the database."""

from io import StringIO
from pathlib import Path

import pytest
import yaml
from django.core.management import CommandError, call_command

from routing.database.loader import raw_document
from routing.models import Service
from routing.presets import shipped

pytestmark = pytest.mark.django_db

FILE = """\
version: 1
services:
  slackIntelligence:
    preset: slack
    auth: optional
    routes:
      - path: /users.list
        methods: [GET, HEAD, POST]
        cache:
          ttl: 5
"""


def config(*arguments: str) -> str:
    output = StringIO()
    call_command("config", *arguments, stdout=output, stderr=StringIO())
    return output.getvalue()


@pytest.fixture
def applied(tmp_path: Path) -> Path:
    file = tmp_path / "gateway.yaml"
    file.write_text(FILE)
    config("apply", str(file), "--prune")
    return file


def test_the_presets_are_listed() -> None:
    lines = config("presets").splitlines()
    assert [line.split()[0] for line in lines] == list(shipped.names())
    assert "Slack Web API" in lines[-1]


def test_a_preset_is_shown_as_it_is_shipped() -> None:
    assert config("preset", "slack") == shipped.text("slack")


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(CommandError, match="there is no preset 'slak'"):
        config("preset", "slak")


def test_the_database_keeps_the_preset_and_what_was_put_on_top(applied: Path) -> None:
    assert yaml.safe_load(config("export")) == yaml.safe_load(FILE)
    assert config("diff", str(applied)).strip() == "no differences"
    service = Service.objects.get()
    assert (service.preset, service.targets.count(), service.routes.count()) == ("slack", 0, 1)


@pytest.mark.usefixtures("applied")
def test_an_expanded_export_contains_what_the_preset_sets() -> None:
    services = yaml.safe_load(config("export", "--expand"))["services"]
    service = services["slackIntelligence"]
    assert "preset" not in service
    assert service["targets"] == [{"url": "https://slack.com/api"}]
    assert service["routes"][0]["cache"]["ttl"] == 5
    assert len(service["routes"]) == len(shipped.preset("slack").service["routes"])


def test_an_expanded_export_is_applied_to_the_same_service(applied: Path, tmp_path: Path) -> None:
    expanded = tmp_path / "expanded.yaml"
    expanded.write_text(config("export", "--expand"))
    before = config("export", "--expand")
    config("apply", str(expanded), "--prune")
    assert config("export") == before
    config("apply", str(applied), "--prune")
    assert yaml.safe_load(config("export")) == yaml.safe_load(FILE)


@pytest.mark.usefixtures("applied")
def test_the_preset_is_removed_with_the_key(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("version: 1\nservices: {slackIntelligence: {targets: [{url: 'http://own'}]}}\n")
    config("apply", str(file), "--prune")
    assert Service.objects.get().preset == ""
    assert raw_document()["services"]["slackIntelligence"]["targets"][0]["url"] == "http://own"


def test_an_unknown_preset_in_a_file_is_a_fault_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("version: 1\nservices:\n  a:\n    preset: slak\n")
    with pytest.raises(CommandError, match=r"line 4.*preset.*must be one of .*slack") as caught:
        config("validate", str(file))
    assert "1 fault" in str(caught.value)
