"""The page of usage: what it shows, its filters, and what it says of wrong ones."""

from datetime import UTC, datetime
from html import unescape

import pytest
from django.db import DatabaseError
from django.test import Client
from django.utils.translation import override

from metrics.dashboard.request_rows import duration_text
from metrics.dashboard.usage_figures import long_duration, share
from metrics.models import UsageDelivery, UsageEvent
from metrics.usage import selectors
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db

TODAY = "2023-11-14"
PAGE = "/dashboard/usage/"


@pytest.fixture(autouse=True)
def stored(db: None) -> None:
    rows = [
        (
            UsageKey(TODAY, "acme", team="sales", service="crm", route="/a", currency="EUR"),
            UsageCounts(requests=1_204, errors=3, bytes_out=2_048, backend_us=90_000_000, amount=2_408_000_000),
        ),
        (UsageKey(TODAY, "<script>alert(1)</script>", service="mail"), UsageCounts(requests=7)),
        (UsageKey(TODAY, caller="key:abcdefgh", service="crm"), UsageCounts(requests=5)),
        (UsageKey(TODAY), UsageCounts(requests=1, errors=1)),
    ]
    UsageLedger().save([UsageBatch("b", NOW, rows)])


def text(client: Client, query: str = "") -> str:
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_it_shows_who_used_what(harness: Harness, staff_client: Client) -> None:
    page = staff_client.get(PAGE).content.decode()
    for shown in ("acme", "1,204", "2.408 EUR", "1.5 min", "key:abcdefgh", "no consumer", "anonymous", "no credential"):
        assert shown in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert f"/metrics/usage?from=2023-10-16&amp;to={TODAY}&amp;group_by=consumer%2Cservice&amp;format=csv" in page


def test_filters_and_groups(harness: Harness, staff_client: Client) -> None:
    page = text(staff_client, "consumer=acme&by=service,route")
    assert "/a" in page
    assert "key:abcdefgh" not in page
    assert "group_by=service%2Croute" in page
    assert "No usage in this range" in text(staff_client, "start=2022-01-01&end=2022-01-31")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=yesterday", "Enter a valid date."),
        (f"start={TODAY}&end=2023-11-01", "The first day must not be after the last one."),
        ("by=planet", "Select a valid choice."),
        ("consumer=a%00", "Null characters are not allowed."),
        ("start=0001-01-01&end=0001-01-02", "No usage in this range"),
    ],
)
def test_a_wrong_filter_is_explained(harness: Harness, staff_client: Client, query: str, message: str) -> None:
    assert message in text(staff_client, query)


def test_it_says_so_when_events_are_not_delivered(harness: Harness, staff_client: Client) -> None:
    delivery = UsageDelivery.objects.create(pk=1, installation="i", failures=3, failure="status 500")
    event = UsageEvent.objects.create(id="e", at=datetime(2026, 1, 31, tzinfo=UTC), event={})
    assert "Events are not delivered, and 1 wait: status 500." in text(staff_client)
    UsageDelivery.objects.filter(pk=delivery.pk).update(failures=0)
    assert "Events are" not in text(staff_client)
    UsageEvent.objects.filter(pk=event.pk).update(rejection="status 400")
    assert "Some events were rejected" in text(staff_client)


def test_it_says_so_when_the_database_is_away(
    harness: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(selectors, "report", fail)
    assert "cannot be read while the database is unavailable" in text(staff_client)


def test_figures_are_rounded_in_the_pages_language() -> None:
    assert [share(*each) for each in ((30, 112), (2, 3), (1, 3_000), (0, 0))] == ["26.8", "66.7", "0.0", "0"]
    seconds = (0, 0.0996, 0.9996, 59.97, 3_599, 84_377_160)
    assert [long_duration(each) for each in seconds] == ["0 ms", "100 ms", "1.0 s", "1.0 min", "1.0 h", "23,438.1 h"]
    assert [duration_text(each) for each in (0.000096, 0.0449, 0.9996)] == ["0.10 ms", "45 ms", "1.00 s"]
    with override("de"):
        assert (share(30, 112), long_duration(84_377_160)) == ("26,8", "23.438,1 h")
