"""The file of GATEWAY_CONFIG deletes only what it has created."""

import logging
from pathlib import Path

import pytest

from routing.configuration.faults import ConfigurationError
from routing.database.apply import apply_document
from routing.database.startup_file import apply_startup_file
from routing.models import ConfigurationRevision, Service

pytestmark = pytest.mark.django_db(transaction=True)


def write(file: Path, *names: str) -> Path:
    file.write_text(
        "version: 1\nservices:\n" + "".join(f"  {name}: {{targets: [{{url: 'http://a'}}]}}\n" for name in names)
    )
    return file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "gateway.yaml"


def names() -> list[str]:
    return [service.name for service in Service.objects.all()]


def test_a_service_made_in_the_admin_survives_restarts(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Service.objects.create(name="by-hand")
    for _ in range(2):
        apply_startup_file(write(file, "crm"))
    assert names() == ["by-hand", "crm"]
    assert f"{file} sets the services crm: edits of these end at the next start" in caplog.messages
    assert f"{file} did not create these services and leaves them as they are: by-hand" in caplog.messages


def test_what_the_file_created_goes_when_the_file_no_longer_has_it(file: Path) -> None:
    apply_startup_file(write(file, "crm", "mail"))
    apply_startup_file(write(file, "mail"))
    assert names() == ["mail"]
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    assert (revision.actor, revision.summary) == ("GATEWAY_CONFIG", "removed crm")


def test_it_updates_a_service_of_the_same_name_and_never_deletes_it(file: Path) -> None:
    apply_document({"version": 1, "services": {"crm": {"targets": [{"url": "http://old"}]}}})
    assert apply_startup_file(write(file, "crm")).updated == ("crm",)
    apply_startup_file(write(file, "mail"))
    assert names() == ["crm", "mail"]


def test_an_empty_file_deletes_only_its_own(file: Path) -> None:
    Service.objects.create(name="by-hand")
    apply_startup_file(write(file, "crm"))
    file.write_text("version: 1")
    apply_startup_file(file)
    assert names() == ["by-hand"]


def test_an_invalid_file_changes_nothing_and_names_the_line(file: Path) -> None:
    apply_startup_file(write(file, "crm"))
    file.write_text("version: 1\nservices:\n  crm: {targets: []}\n")
    with pytest.raises(ConfigurationError, match=r"line 3: services\.crm: a service needs at least one target"):
        apply_startup_file(file)
    assert names() == ["crm"]
