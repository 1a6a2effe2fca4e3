"""`manage.py usage`: a table, CSV and JSON of what the database has, and what has become of events."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from metrics.models import UsageDelivery, UsageEvent
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("usage", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture(autouse=True)
def stored(db: None) -> None:
    rows = [
        (UsageKey("2026-01-31", "acme", service="crm", currency="EUR"), UsageCounts(5, 1, 2, amount=10_000_000)),
        (UsageKey("2026-01-30", caller="jwt+x:\x1b[31m", service="mail"), UsageCounts(7)),
    ]
    UsageLedger().save([UsageBatch("b", 0.0, rows)])


def test_a_table_with_a_total() -> None:
    lines = run("--from", "2026-01-01", "--to", "2026-01-31").splitlines()
    assert lines[0].split()[:4] == ["consumer", "caller", "service", "requests"]
    assert "jwt+x:\\x1b[31m" in lines[1]
    assert lines[2].split() == ["acme", "-", "crm", "5", "1", "2", "0", "0", "0", "0", "0", "0.01", "EUR"]
    assert lines[3].split()[:1] == ["total"]
    assert "12" in lines[3]
    assert len(run("show", "--from", "2026-01-31", "--to", "2026-01-31", "--consumer", "acme").splitlines()) == 3


def test_csv_and_json() -> None:
    arguments = ("--from", "2026-01-01", "--to", "2026-01-31", "--group-by", "day")
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv"))))
    assert [(row["day"], row["requests"]) for row in rows] == [("2026-01-30", "7"), ("2026-01-31", "5")]
    found = json.loads(run(*arguments, "--format", "json"))
    assert found[1]["money"] == [{"amount": "0.01", "currency": "EUR"}]


@pytest.mark.parametrize("arguments", [("--group-by", "planet"), ("--from", "yesterday")])
def test_a_wrong_argument_is_refused(arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="must be"):
        run(*arguments)


def test_events_that_wait_fail_and_were_rejected() -> None:
    assert "no events" in run("events")
    UsageDelivery.objects.create(pk=1, installation="i", failures=3, failure="status 500", retry_at=1_700_000_000)
    for number, rejection in enumerate(("", "status 400")):
        at = datetime(2026, 1, 31, tzinfo=UTC)
        UsageEvent.objects.create(id=f"event-{number}", at=at, event={}, rejection=rejection)
    text = run("events")
    assert "waiting: 1; last delivery: never" in text
    assert "failing: status 500 (3 times); next try: 2023-11-14T22:13:20Z" in text
    assert "rejected: event-1: status 400" in text
    assert "1 events will be sent again" in run("retry")
    assert "waiting: 2" in run("events")
