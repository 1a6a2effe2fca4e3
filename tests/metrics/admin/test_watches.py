"""The page of watches, and their metrics: who may renew them, and what a scraper reads."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from metrics.models import Operation
from metrics.watch_status import watch_statuses
from routing.models import Watch
from routing.watches.record import WatchState
from tests.metrics.harness import Harness
from tests.staff import member_of

pytestmark = pytest.mark.django_db

PAGE = "/admin/routing/watch/"


@pytest.fixture
def watch(harness: Harness) -> Watch:
    now = datetime.now(UTC)
    Watch.objects.create(webhook="gmail", subject="service", resource="me", service="mail")
    ended = now - timedelta(hours=1)
    Watch.objects.create(webhook="calendar", subject="service", resource="old", service="cal", expires_at=ended)
    return Watch.objects.create(
        webhook="calendar",
        subject="service",
        resource="team@example.com",
        service="cal",
        expires_at=now + timedelta(days=3),
        due_at=now + timedelta(days=2),
        failure="forbidden",
        detail="403: <b>no</b>",
    )


def test_viewers_see_ends_and_faults_and_operators_renew(harness: Harness, watch: Watch) -> None:
    viewer, operator = member_of("Viewer", "vic"), member_of("Operator", "olga")
    listed = viewer.get(PAGE).content.decode()
    assert "team@example.com" in listed
    assert "forbidden" in listed
    page = viewer.get(f"{PAGE}{watch.pk}/change/").content.decode()
    assert "&lt;b&gt;no" in page
    data = {"action": "renew", "_selected_action": [watch.pk]}
    viewer.post(PAGE, data)
    assert Watch.objects.get(pk=watch.pk).due_at == watch.due_at
    operator.post(PAGE, data)
    due = Watch.objects.get(pk=watch.pk).due_at
    assert due
    assert due <= datetime.now(UTC)
    assert Operation.objects.get(action="watch.renew").service == "cal"
    assert Client().get(PAGE).status_code == 302


def test_the_metrics_count_states(watch: Watch) -> None:
    calendar, gmail = watch_statuses()
    assert calendar.states == {WatchState.ACTIVE: 0, WatchState.FAILING: 1, WatchState.ENDED: 1, WatchState.PENDING: 0}
    assert -3_700 < calendar.seconds_left < -3_500
    assert (gmail.seconds_left, gmail.states[WatchState.PENDING]) == (0.0, 1)
