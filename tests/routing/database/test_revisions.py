"""The configuration's history: each change is recorded with its actor and can be rolled back."""

from typing import Any

import msgspec
import pytest

from metrics.retention.policy import DEFAULTS, Retention, RetentionLimit
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.apply import apply_document
from routing.database.loader import raw_document
from routing.models import ApiKey, ConfigurationRevision, Service

pytestmark = pytest.mark.django_db(transaction=True)


def services(**ttl: int) -> dict[str, object]:
    named = {name: {"targets": [{"url": f"http://{name}"}], "cache": {"ttl": value}} for name, value in ttl.items()}
    return {"version": 1, "services": named}


def summaries() -> list[tuple[str, str]]:
    return list(ConfigurationRevision.objects.values_list("actor", "summary"))


def test_each_committed_change_is_recorded_once_with_its_actor() -> None:
    with acting_as("staff:ada"):
        apply_document(services(crm=1, mail=1))
    with acting_as("command:bob"):
        apply_document(services(crm=2, ai=1))
    assert summaries() == [
        ("command:bob", "added ai; changed crm; removed mail"),
        ("staff:ada", "added crm, mail"),
    ]


def test_a_save_that_does_not_change_the_services_is_not_a_revision() -> None:
    apply_document(services(crm=1))
    apply_document(services(crm=1))
    ApiKey.objects.create(name="ci", prefix="a", digest="b")
    assert summaries() == [("the gateway", "added crm")]


def test_a_rollback_restores_the_services_and_is_itself_a_revision() -> None:
    apply_document(services(crm=1, mail=1))
    before = raw_document()
    first = ConfigurationRevision.objects.get()
    apply_document(services(crm=9))
    revisions.rollback(first, "staff:ada")
    assert raw_document() == before
    assert summaries()[0] == ("staff:ada", f"rolled back to revision {first.pk}")


def test_a_saved_row_is_recorded_like_any_other_change() -> None:
    apply_document(services(crm=1))
    Service.objects.get().targets.create(url="http://second")
    assert summaries()[0] == ("the gateway", "changed crm")


def test_the_diff_of_a_revision_shows_only_what_changed() -> None:
    apply_document(services(crm=1))
    apply_document(services(crm=2))
    revision = ConfigurationRevision.objects.first()
    assert revision is not None
    lines = list(revisions.diff_lines(revisions.previous_document(revision), revision.document))
    assert [line for line in lines if line[0] in "+-"] == ["-    cache: {ttl: 1}", "+    cache: {ttl: 2}"]


def test_only_the_latest_revisions_are_kept(settings: Any) -> None:
    limits = Retention({**DEFAULTS, "history": RetentionLimit(rows=2)})
    settings.CONFIG = msgspec.structs.replace(settings.CONFIG, retention=limits)
    for ttl in range(4):
        apply_document(services(crm=ttl))
    assert ConfigurationRevision.objects.count() == 2


def test_fewer_revisions_are_kept_of_a_long_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "MAX_BYTES", 100)
    monkeypatch.setattr(revisions, "FEW_REVISIONS", 3)
    for ttl in range(6):
        apply_document(services(crm=ttl, mail=ttl))
    assert ConfigurationRevision.objects.count() == 3
