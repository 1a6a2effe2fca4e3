"""Usage, quotas and failed requests as a member sees them."""

from datetime import UTC, date, datetime, timedelta

import pytest

from metrics.models import DailyUsage
from routing.models import Consumer
from tests.metrics.events import NOW, finished
from tests.metrics.portal.teams import Team

pytestmark = pytest.mark.django_db
TODAY = datetime.fromtimestamp(NOW, UTC).date()


def use(name: str, day: date, requests: int, service: str = "crm") -> None:
    key = f"{name} {day} {service}"
    DailyUsage.objects.create(
        key=key, day=day, consumer=name, service=service, requests=requests, errors=1, bytes_out=2_048
    )


@pytest.fixture
def old_acme(acme: Team) -> Team:
    """A consumer since ten days before the present of the gateway's clock."""
    created = datetime.fromtimestamp(NOW, UTC) - timedelta(days=10)
    Consumer.objects.update(created_at=created)
    return acme


def test_usage_is_summed_by_service_and_day(old_acme: Team) -> None:
    use("acme", TODAY, 40)
    use("acme", TODAY, 3, "mail")
    use("acme", TODAY - timedelta(days=8), 1_000)
    use("rival", TODAY, 7_654_321)
    response = old_acme.get("usage/")
    assert (response.context["total"].requests, response.context["total"].errors) == (1_043, 3)
    assert {line.name: line.requests for line in response.context["by_service"]} == {"crm": 1_040, "mail": 3}
    assert [line.requests for line in response.context["by_day"]] == [43, 1_000]
    assert "7654321" not in response.content.decode().replace(",", "")
    assert old_acme.get("usage/?days=7").context["total"].requests == 43
    assert old_acme.get("usage/?days=9999999").context["days"] == 30


def test_an_earlier_consumer_of_the_same_name_is_another_one(old_acme: Team) -> None:
    use("acme", TODAY - timedelta(days=11), 777)
    assert old_acme.get("usage/").context["total"].requests == 0
    assert "Nothing used yet" in old_acme.text("usage/")


def test_quotas_are_shown_with_what_is_left(acme: Team) -> None:
    subscription = acme.harness.live.keys.consumers.subscription(acme.consumer.pk)
    assert subscription is not None
    (quota,) = subscription.quotas

    async def use_quota() -> None:
        for _ in range(85):
            await acme.harness.consumer_quotas.take(quota.meter)

    acme.harness.run(use_quota())
    for path in ("", "usage/"):
        page = acme.text(path)
        assert "85 of 100" in page
        assert "15 left until 1 Dec 2023, 00:00:00 UTC" in page
        assert 'data-tone="warn"' in page


def test_a_failed_request_is_listed_without_its_query(acme: Team) -> None:
    key = acme.create_key()
    for path in ("mail/contacts/1?password=letmein", "crm/contacts/1?token=letmein"):
        acme.call(key, path)
    rows = acme.get("errors/").context["failures"]
    assert [(row["failure"].status, row["failure"].code, row["failure"].path) for row in rows] == [
        (403, "forbidden", "/api/v1/mail/contacts/1")
    ]
    page = acme.text("errors/")
    assert "letmein" not in page
    assert rows[0]["failure"].request_id in page
    assert f"gw_{key.split('_')[1]}" in page


def test_the_latest_twenty_are_listed(acme: Team) -> None:
    subscription = acme.harness.live.keys.consumers.subscription(acme.consumer.pk)
    assert subscription is not None
    for number in range(50):
        event = finished(at=NOW + number, status=500, request_id=f"request-{number}")
        acme.harness.failures.failed(subscription, event)
    rows = acme.get("errors/").context["failures"]
    assert [row["failure"].request_id for row in rows] == [f"request-{number}" for number in range(49, 29, -1)]
