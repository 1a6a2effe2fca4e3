"""What conditions are compared with, read from a running gateway."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from metrics.alerts.certificates import TargetCertificates
from metrics.alerts.reading import SnapshotReader
from resilience.breaker.machine import State
from resilience.outage import StoreUnavailable
from routing.alerts.policy import Alert, ConditionKind
from routing.configuration.alert_conditions import condition
from routing.models import FailedDelivery, QuotaUsage
from routing.router.objectives import Objectives
from routing.router.table import RouteTable
from tests.metrics.events import NOW
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db(transaction=True)
BROKEN = b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def reader(harness: Harness) -> SnapshotReader:
    harness.serve(*[BROKEN] * 3, ok())
    crm = harness.live.table.services["crm"]
    harness.live.table = RouteTable([replace(crm, slo=Objectives(availability=0.999))])
    return SnapshotReader(
        harness.live,
        flusher=harness.flusher,
        breakers=harness.breakers,
        balancers=harness.balancers,
        certificates=TargetCertificates((), harness.clock),
        executor=ThreadPoolExecutor(1),
        clock=harness.clock,
    )


def alerts(*texts: str) -> tuple[Alert, ...]:
    return (Alert(name="a", conditions=tuple(map(condition, texts))),)


def test_circuits_counts_and_objectives(harness: Harness, reader: SnapshotReader) -> None:
    for number in range(3):
        harness.request(f"/api/v1/crm/contacts/{number}")
    found = harness.run(reader.read(alerts("circuit.open", "error_rate > 5%", "budget.80", "target.down")))
    assert found.circuits["crm"].state in (State.CLOSED, State.OPEN)
    [minute] = found.minutes["crm"].values()
    assert (minute.requests, minute.errors, sum(minute.calls.values())) == (3, 3, 3)
    [status] = found.objectives["crm"]
    assert (status.total, status.bad) == (3, 3)
    assert found.unknown == frozenset()
    harness.request("/api/v1/crm/contacts/9")
    assert harness.run(reader.read(alerts("error_rate > 5%"))).minutes == found.minutes  # ten seconds are not over
    harness.clock.advance(10)
    [minute] = harness.run(reader.read(alerts("error_rate > 5%"))).minutes["crm"].values()
    assert minute.requests == 4


def test_only_what_is_needed_is_read(harness: Harness, reader: SnapshotReader) -> None:
    harness.request("/api/v1/crm/contacts/1")
    found = harness.run(reader.read(alerts("circuit.open")))
    assert (found.minutes, found.objectives, found.quotas, found.webhooks) == ({}, {}, (), ())


def test_what_other_workers_counted_is_unknown_while_they_cannot_report(
    harness: Harness, reader: SnapshotReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable() -> Any:
        raise StoreUnavailable("Redis is away")

    monkeypatch.setattr(harness.flusher, "pending", unavailable)
    found = harness.run(reader.read(alerts("error_rate > 5%", "budget.80", "circuit.open", "target.down")))
    assert found.unknown == {ConditionKind.ERROR_RATE, ConditionKind.BUDGET}


def test_current_quotas_and_recent_failures_of_webhooks_are_read(harness: Harness, reader: SnapshotReader) -> None:
    QuotaUsage.objects.create(counter="consumer:12|plan|month", used=9, warned=80, ends=int(NOW) + 60)
    QuotaUsage.objects.create(counter="consumer:13|plan|month", used=9, warned=100, ends=int(NOW) - 60)
    now = datetime.fromtimestamp(NOW, UTC)
    for webhook, age in (("slack", 60), ("slack", 120), ("old", 3_600)):
        row = FailedDelivery.objects.create(webhook=webhook, received_at=now, data=b"")
        FailedDelivery.objects.filter(pk=row.pk).update(failed_at=now - timedelta(seconds=age))
    found = harness.run(reader.read(alerts("quota.80", "webhook.failing")))
    assert [(quota.name, quota.warned) for quota in found.quotas] == [("plan-month of consumer 12", 80)]
    [failing] = found.webhooks
    assert failing.webhook == "slack"
    assert failing.text.startswith("2 deliveries failed, the last at ")
