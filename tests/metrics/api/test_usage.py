"""`/metrics/usage`: what was counted, by group, as JSON and CSV; and what is wrong with a query."""

import csv
import io
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from metrics.usage import selectors
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from tests.metrics.events import NOW
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = "2023-11-14"
"""The day of NOW."""


def store(*rows: tuple[UsageKey, UsageCounts]) -> None:
    UsageLedger().save([UsageBatch("b", NOW, list(rows))])


def usage(client: Client, query: str = "") -> dict[str, Any]:
    response = client.get(f"/metrics/usage?{query}")
    assert response.status_code == 200, response.content
    document: dict[str, Any] = response.json()
    return document


def test_requests_are_counted_at_once_by_caller_service_and_day(harness: Harness, api_client: Client) -> None:
    harness.serve(ok(), ok(b"no"))
    assert [harness.request("/api/v1/crm/contacts/1") for _ in range(3)] == [200] * 3
    assert harness.request("/api/v1/nothing") == 404
    found = usage(api_client)
    crm, unmatched = sorted(found["usage"], key=lambda row: row["service"] == "")
    assert (crm["service"], crm["day"], crm["consumer"], crm["requests"], crm["cached"]) == ("crm", TODAY, "", 3, 2)
    assert crm["caller"].removeprefix("key:") in harness.keys["every"]
    assert crm["bytesOut"] == 3 * len(b'{"a":1}')
    assert crm["backendSeconds"] > 0
    assert (unmatched["service"], unmatched["requests"], unmatched["errors"]) == ("", 1, 1)
    assert found["total"]["requests"] == 4
    assert (found["from"], found["to"], found["timezone"], found["next"]) == ("2023-10-16", TODAY, "UTC", None)


def test_groups_filters_and_pages(harness: Harness, api_client: Client) -> None:
    store(
        *(
            (UsageKey(TODAY, f"c{number}", team="t", service="crm", route="/a"), UsageCounts(requests=number + 1))
            for number in range(5)
        ),
        (UsageKey("2023-11-13", "c0", service="mail"), UsageCounts(requests=7, errors=2, bytes_in=3)),
    )
    by_consumer = usage(api_client, "group_by=consumer")
    assert by_consumer["groupBy"] == ["consumer", "caller"]
    assert [row["requests"] for row in by_consumer["usage"]] == [8, 2, 3, 4, 5]
    assert [row["day"] for row in usage(api_client, "group_by=day")["usage"]] == ["2023-11-13", TODAY]
    assert usage(api_client, "consumer=c0&service=mail&group_by=service")["total"]["bytesIn"] == 3
    assert usage(api_client, f"from={TODAY}&to={TODAY}&consumer=c0")["total"]["requests"] == 1
    first = api_client.get("/metrics/usage?group_by=consumer&limit=3")
    assert first.json()["next"] == 3
    link = first["Link"]
    assert link.endswith('>; rel="next"')
    rest = api_client.get(link[1 : link.index(">")]).json()
    assert [row["consumer"] for row in rest["usage"]] == ["c3", "c4"]
    assert rest["next"] is None
    assert rest["total"] == first.json()["total"]


def test_an_empty_parameter_is_one_that_is_not_given(harness: Harness, api_client: Client) -> None:
    store((UsageKey(TODAY, "c0", service="crm"), UsageCounts(requests=1)))
    assert usage(api_client, "service=&from=&to=&group_by=&format=&limit=&offset=") == usage(api_client)


def test_days_can_be_named_by_times(harness: Harness, api_client: Client) -> None:
    found = usage(api_client, f"from=2023-11-13T23:30:00-02:00&to={NOW}")
    assert (found["from"], found["to"]) == (TODAY, TODAY)


def test_amounts_are_decimal_numbers_by_currency(harness: Harness, api_client: Client) -> None:
    store(
        (UsageKey(TODAY, "c", service="crm", currency="EUR"), UsageCounts(requests=3, amount=6_000_000)),
        (UsageKey(TODAY, "c", service="crm", currency="USD"), UsageCounts(requests=1, amount=10_000_000_000)),
        (UsageKey(TODAY, "c", service="crm"), UsageCounts(requests=1)),
    )
    [row] = usage(api_client, "group_by=consumer")["usage"]
    assert row["requests"] == 5
    assert row["money"] == [{"amount": "0.006", "currency": "EUR"}, {"amount": "10", "currency": "USD"}]
    [line] = lines(api_client, "group_by=consumer")
    assert (line["amount_EUR"], line["amount_USD"]) == ("0.006", "10")


def lines(client: Client, query: str) -> list[dict[str, str]]:
    response = client.get(f"/metrics/usage?format=csv&{query}")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
def test_csv_has_no_formulas(harness: Harness, api_client: Client, name: str) -> None:
    store((UsageKey(TODAY, caller=f'{name},"x"', service="crm"), UsageCounts(requests=1)))
    response = api_client.get("/metrics/usage?format=csv")
    assert response["Content-Disposition"] == f'attachment; filename="usage-2023-10-16-{TODAY}.csv"'
    [line] = lines(api_client, "")
    assert line["caller"] == f'\'{name},"x"'
    assert line["requests"] == "1"


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("from=yesterday", "from"),
        ("from=2023-02-30", "from"),
        ("to=2023-11-14T25:00:00Z", "to"),
        ("to=-5", "to"),
        ("to=\u0662\u0660\u0662\u0663-11-14", "to"),
        ("from=2023-11-15&to=2023-11-14", "from"),
        ("group_by=planet", "group_by"),
        ("group_by=day,", "group_by"),
        ("format=xml", "format"),
        ("limit=0", "limit"),
        ("limit=100001", "limit"),
        ("offset=-1", "offset"),
        ("consumer=a&consumer=b", "consumer"),
        ("consumer=%00", "consumer"),
        ("groupby=day", "groupby"),
    ],
)
def test_a_wrong_query_is_refused_with_a_reason(harness: Harness, api_client: Client, query: str, reason: str) -> None:
    response = api_client.get(f"/metrics/usage?{query}")
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"
    assert reason in response.json()["detail"]


def test_it_requires_the_right_to_read(harness: Harness, staff_client: Client) -> None:
    assert Client().get("/metrics/usage").status_code == 401
    assert Client(headers={"X-API-Key": harness.keys["write"]}).get("/metrics/usage").status_code == 403
    assert Client(headers={"X-API-Key": harness.keys["read"]}).get("/metrics/usage").status_code == 200
    assert staff_client.get("/metrics/usage").status_code == 200


def test_it_is_unavailable_with_the_database(
    harness: Harness, api_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(selectors, "report", fail)
    response = api_client.get("/metrics/usage")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")


def test_the_usage_of_a_consumer_by_day_and_service(harness: Harness) -> None:
    yesterday = date.fromisoformat(TODAY) - timedelta(days=1)
    store(
        (
            UsageKey(TODAY, "acme", service="crm", route="/a"),
            UsageCounts(requests=3, errors=1, bytes_in=5, bytes_out=6),
        ),
        (UsageKey(TODAY, "acme", service="crm", route="/b"), UsageCounts(requests=1, cached=1, backend_us=1_500_000)),
        (UsageKey(yesterday.isoformat(), "acme", service="crm"), UsageCounts(requests=9)),
        (UsageKey("2023-11-01", "acme", service="crm"), UsageCounts(requests=100)),
        (UsageKey(TODAY, "other", service="crm"), UsageCounts(requests=1_000)),
    )
    older, newer = selectors.daily_usage("acme", 7)
    assert (older.day, older.requests) == (yesterday, 9)
    assert (newer.day, newer.service, newer.requests, newer.errors) == (date.fromisoformat(TODAY), "crm", 4, 1)
    assert (newer.bytes, newer.cached, newer.backend_seconds) == (11, 1, 1.5)
    assert [each.requests for each in selectors.daily_usage("acme", 1)] == [4]
