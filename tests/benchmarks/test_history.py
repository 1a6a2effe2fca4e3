"""The generated year: as many rows as asked for, in tables that the pages read."""

from datetime import UTC, datetime

import pytest
from django.db.models import Max, Min

from benchmarks.history.generate import OPERATIONS_PER_DAY, SERVICES_PER_CONSUMER, generate
from benchmarks.history.pages import pages
from metrics.models import Aggregate, DailyUsage, Operation

NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)


@pytest.mark.django_db(transaction=True)
def test_a_history_has_its_days_and_services() -> None:
    rows = generate(NOW, services=6, days=3, consumers=4)
    days = Aggregate.objects.filter(resolution="day")
    assert days.count() == 3 * (6 + 1)  # and the sums of all services
    assert Aggregate.objects.filter(resolution="hour").count() == 72 * 7
    assert rows["metrics.DailyUsage"] == 3 * 4 * SERVICES_PER_CONSUMER
    assert DailyUsage.objects.aggregate(first=Min("day"), last=Max("day")) == {
        "first": NOW.date().replace(day=13),
        "last": NOW.date(),
    }
    changed = Operation.objects.filter(action="service.changed")
    assert changed.count() == 3 * OPERATIONS_PER_DAY
    assert changed.earliest("at").at == NOW.replace(day=12)
    names = [page.name for page in pages()]
    assert len(names) == len(set(names))
    assert "admin: audit log, one" in names
