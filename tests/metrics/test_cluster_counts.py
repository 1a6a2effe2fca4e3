"""Which minutes are read again."""

import pytest

from metrics import cluster_counts
from metrics.models import Aggregate, TimeResolution
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db


def test_minutes_that_are_over_are_kept_for_a_while(harness: Harness) -> None:
    old, recent = (
        Aggregate.objects.create(resolution=TimeResolution.MINUTE, start=int(NOW) - age, service="crm", counts={"x": 1})
        for age in (600, 60)
    )

    def read() -> list[int]:
        found = cluster_counts.last_minutes((), harness.clock(), 1_800)
        return [found[row.start, "crm"]["x"] for row in (old, recent)]

    assert read() == [1, 1]
    Aggregate.objects.update(counts={"x": 2})
    harness.clock.advance(1)
    assert read() == [1, 2]
    harness.clock.advance(cluster_counts.REREAD_SECONDS)
    assert read() == [2, 2]
