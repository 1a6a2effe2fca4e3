"""Expired rows are deleted in small batches, by one worker; every table that grows has an end."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from metrics.models import Aggregate, Batch, CircuitChange, DailyUsage, Operation
from metrics.retention import deletion
from metrics.retention import tables as retention_tables
from metrics.retention.deletion import claim
from metrics.retention.policy import DEFAULTS, Retention, RetentionLimit
from metrics.retention.tables import UsageRetention, growing_tables
from routing.models import ApiKey, ConfigurationRevision, Consumer, PlanRequest, QuotaUsage, Revocation

pytestmark = pytest.mark.django_db

NOW: Final = datetime(2026, 6, 15, 12, tzinfo=UTC)
USAGE: Final = UsageRetention(400, ZoneInfo("UTC"), has_events=True)
BOUNDED: Final = {
    "admin.LogEntry, sessions.Session, metrics.Aggregate, metrics.Batch, metrics.CircuitChange, metrics.Operation, "
    "metrics.DailyUsage, routing.ApiKey, routing.ConfigurationRevision, routing.FailedDelivery, "
    "routing.PendingConnection, routing.PlanRequest, routing.QuotaUsage, routing.RetiredSecret, "
    "routing.Revocation, metrics.AlertMessage, metrics.AlertSilence": "rows expire",
    "metrics.AlertState": "no more are made while 5,000 hold",
    "metrics.UsageEvent": "no more are made while 10,000 wait",
    "metrics.UsageDelivery, metrics.AlertWatch, routing.ConfigurationVersion": "one row",
    "routing.ConfigurationProposal": "no more are made while 200 wait, and 500 that were decided are kept",
    "routing.ConfigurationChange": "those of 10,000 versions",
    "routing.Service, routing.Target, routing.Route, routing.Webhook, routing.Issuer, routing.ServiceDocument, "
    "routing.Plan, routing.Team, routing.Consumer, routing.ConsumerIdentity, routing.SigningKey, "
    "routing.IdentityKey, routing.AlertRule": "the configuration",
    "routing.Member, routing.ServiceRole, metrics.Identity, auth.User, auth.Group, auth.Permission, "
    "contenttypes.ContentType": "people",
    "routing.BackendCredential, routing.Watch": "accounts that are connected",
}
"""Why each model has an end. A new one belongs to `growing_tables`, or here with its reason."""


def tables(usage: UsageRetention = USAGE, **limits: RetentionLimit) -> Any:
    return growing_tables(Retention({**DEFAULTS, **limits}), usage)


def delete(now: datetime = NOW, usage: UsageRetention = USAGE, **limits: RetentionLimit) -> dict[str, int]:
    return deletion.delete_expired(tables(usage, **limits), now, pause=lambda seconds: None)


def test_every_model_has_an_end() -> None:
    listed = [label for labels in BOUNDED for label in labels.split(", ")]
    models = {model._meta.label for model in apps.get_models() if not model._meta.proxy}
    assert sorted(listed) == sorted(models)
    expiring = next(iter(BOUNDED)).split(", ")
    assert {table.rows.model._meta.label for table in tables()} == set(expiring)


def test_counts_are_deleted_by_their_resolution() -> None:
    def aggregate(resolution: str, age: timedelta) -> None:
        Aggregate.objects.create(resolution=resolution, start=int((NOW - age).timestamp()), counts={})

    for resolution, days in (("minute", 2), ("hour", 60), ("day", 731)):
        aggregate(resolution, timedelta(days=days, minutes=-1))
        aggregate(resolution, timedelta(days=days, minutes=1))
    Aggregate.objects.create(resolution="total", start=0)
    assert delete() == {"minutes": 1, "hours": 1, "days": 1}
    assert Aggregate.objects.count() == 4
    assert delete(now=NOW + timedelta(days=9_999), days=RetentionLimit()) == {"minutes": 1, "hours": 1}


def test_usage_is_kept_for_its_days_and_until_it_was_sent() -> None:
    first = date(2026, 6, 15) - timedelta(days=400)
    for number, day in enumerate((first, first - timedelta(days=1))):
        DailyUsage.objects.create(key=str(number), day=day)
    assert delete() == {}
    DailyUsage.objects.update(is_emitted=True)
    assert delete() == {"usage": 1}
    assert DailyUsage.objects.get().day == first
    DailyUsage.objects.create(key="2", day=first - timedelta(days=1))
    assert delete(usage=USAGE._replace(has_events=False)) == {"usage": 1}


def test_what_has_ended_is_deleted() -> None:
    for age in (timedelta(0), timedelta(days=32)):
        end = NOW + timedelta(minutes=1) - age
        Session.objects.create(session_key=str(age), expire_date=end)
        Revocation.objects.create(subject="x", until=end, actor="y")
        QuotaUsage.objects.create(counter=str(age), ends=int(end.timestamp()))
        Batch.objects.filter(pk=Batch.objects.create(pk=str(age)).pk).update(at=end)
    QuotaUsage.objects.create(counter="never counted")
    assert delete() == {"batches": 1, "sessions": 1, "revocations": 1, "quotas": 1}


def test_keys_are_deleted_long_after_they_were_revoked_or_expired_and_the_audit_log_says_so() -> None:
    past, future = NOW - timedelta(days=800), NOW + timedelta(days=1)
    ends = [(None, None), (past, None), (None, past), (past, future), (NOW, past), (future, None)]
    for number, (revoked, expires) in enumerate(ends):
        ApiKey.objects.create(
            name=str(number), prefix=str(number), digest=str(number), scopes=[], revoked_at=revoked, expires_at=expires
        )
    Operation.objects.all().delete()
    assert delete() == {"keys": 4}
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["0", "5"]
    assert set(Operation.objects.values_list("actor", "action")) == {("the gateway", "key.deleted")}


def test_of_too_many_rows_the_latest_are_kept() -> None:
    for number in range(5):
        CircuitChange.objects.create(at=NOW, service=str(number))
        ConfigurationRevision.objects.create(actor="x", summary=str(number), document="")
    assert delete(circuit_changes=RetentionLimit(rows=2), history=RetentionLimit(rows=5)) == {"circuit_changes": 3}
    assert sorted(CircuitChange.objects.values_list("service", flat=True)) == ["3", "4"]


def test_the_latest_revision_is_kept_however_old() -> None:
    for number in range(3):
        ConfigurationRevision.objects.create(actor="x", summary=str(number), document="")
    assert delete(now=NOW + timedelta(days=9_999), history=RetentionLimit(seconds=3_600)) == {"history": 2}
    assert ConfigurationRevision.objects.get().summary == "2"


def test_a_request_for_a_plan_that_waits_is_kept() -> None:
    consumer, long_ago = Consumer.objects.create(name="acme"), NOW - timedelta(days=999)
    for state in ("pending", "refused"):
        PlanRequest.objects.create(consumer=consumer, requested_by="x", state=state, decided_at=long_ago)
    assert delete() == {"plan_requests": 1}
    assert PlanRequest.objects.get().state == "pending"


def test_rows_are_deleted_in_batches_and_a_stop_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH_ROWS", 2)
    CircuitChange.objects.bulk_create(CircuitChange(at=NOW - timedelta(days=61), service="x") for _ in range(5))
    pauses: list[float] = []
    with CaptureQueriesContext(connection) as queries:
        deletion.delete_expired(tables(), NOW, pause=pauses.append, is_stopping=lambda: len(pauses) == 1)
    deletes = [query["sql"] for query in queries.captured_queries if query["sql"].startswith("DELETE")]
    assert len(deletes) == 1
    assert CircuitChange.objects.count() == 3
    assert delete() == {"circuit_changes": 3}


def test_one_process_deletes_in_each_interval() -> None:
    assert [claim(1_200.0), claim(1_799.0), claim(1_800.0)] == [True, False, True]


def test_rows_of_another_teams_project_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway is included in it: its admin's log and its sessions are as old as the project wants them."""
    long_ago, user = NOW - timedelta(days=9_999), get_user_model()._default_manager.create(username="ada")
    for model in (Group, Consumer):
        entry = LogEntry(user=user, content_type=ContentType.objects.get_for_model(model), action_flag=1)
        entry.action_time = long_ago
        entry.save()
    Session.objects.create(session_key="a", session_data="", expire_date=long_ago)
    monkeypatch.setattr(retention_tables, "is_included", lambda: True)
    assert delete() == {"admin_log": 1}
    assert LogEntry.objects.get().content_type == ContentType.objects.get_for_model(Group)
    monkeypatch.undo()
    assert delete() == {"admin_log": 1, "sessions": 1}


def test_the_command_shows_and_deletes() -> None:
    CircuitChange.objects.create(at=datetime.now(UTC) - timedelta(days=61), service="x")
    CircuitChange.objects.create(at=datetime.now(UTC), service="x")

    def run(*arguments: str) -> list[list[str]]:
        output = StringIO()
        call_command("retention", *arguments, stdout=output)
        return [line.split() for line in output.getvalue().splitlines()]

    assert ["circuit_changes", "60d/100000", "2", "1"] in run()
    assert run("--run") == [["circuit_changes:", "1", "deleted"], ["1", "rows", "deleted"]]
    assert ["circuit_changes", "60d/100000", "1", "0"] in run()
