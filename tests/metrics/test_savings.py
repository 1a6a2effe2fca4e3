"""What caching has saved, by month and service: sums, the API and the page."""

import csv
import io
from datetime import UTC, datetime

import pytest
from django.db import DatabaseError
from django.test import Client

from metrics.models import Aggregate, TimeResolution
from metrics.savings import report
from metrics.savings.report import Month, summarise
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/dashboard/savings/"


def day(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def fields(hits: int, calls: int, milliseconds: int = 100) -> dict[str, int]:
    return {
        "requests|GET|2xx|/a": hits + calls,
        "cache|HIT": hits - 1,
        "cache|STALE": 1,
        "cache|REVALIDATED": 3,
        "backend|402": calls,
        "backend_us": calls * milliseconds * 1_000,
    }


def store(start: str, service: str, counts: dict[str, int]) -> None:
    Aggregate.objects.create(resolution=TimeResolution.DAY, start=day(start), service=service, counts=counts)


@pytest.mark.parametrize("names", [0, 3, report.MAX_NAMES])
def test_sums_are_by_month_and_service_at_the_present_cost(monkeypatch: pytest.MonkeyPatch, names: int) -> None:
    """However many names of fields are remembered."""
    monkeypatch.setattr(report, "_kinds", {})
    monkeypatch.setattr(report, "MAX_NAMES", names)
    counts = [
        (day("2026-01-01"), "crm", fields(10, 5)),
        (day("2026-01-31"), "crm", fields(20, 5, milliseconds=300)),
        (day("2026-02-01"), "crm", fields(7, 1)),
        (day("2026-01-15"), "mail", fields(2, 1)),
        (day("2026-01-15"), "", fields(2, 1)),
        (day("2026-01-15"), "*", fields(200, 100)),
        (day("2026-01-15"), "objects", {"cache|HIT": 9}),
    ]
    found = summarise(counts, {"crm": 0.5}, Month(2026, 1), Month(2026, 2))
    assert [(row.month, row.service, row.requests, row.calls, row.seconds, row.usd) for row in found.rows] == [
        ("2026-02", "crm", 8, 7, 0.7, 3.5),
        ("2026-01", "crm", 40, 30, 6.0, 15.0),
        ("2026-01", "mail", 3, 2, 0.2, 0.0),
    ]
    assert [(month.month, month.calls, month.usd) for month in found.months] == [
        ("2026-02", 7, 3.5),
        ("2026-01", 32, 15.0),
    ]
    assert (found.total.calls, found.total.seconds, found.total.usd) == (39, 6.9, 18.5)


def test_a_cost_that_has_saved_nothing_yet_is_set() -> None:
    counts = [(day("2026-01-01"), "crm", fields(0, 5)), (day("2026-01-01"), "mail", fields(2, 5))]
    for costs, expected in (({"crm": 0.5}, True), ({"crm": 0.0, "gone": 1.0}, False)):
        found = summarise(counts, costs, Month(2026, 1), Month(2026, 1))
        assert (found.total.usd, found.has_costs) == (0.0, expected)


def test_months_are_counted_back_and_parsed() -> None:
    assert str(Month(2026, 1).earlier(1)) == "2025-12"
    assert str(Month(2025, 12).earlier(-1)) == "2026-01"
    assert str(Month.parse("0001-01").earlier(30)) == "0001-01"
    assert Month.at(day("2024-02-29")) == Month(2024, 2)
    for text in ("2026-13", "2026-1", "yesterday", "2026-00", "\u0662\u0660\u0662\u0666-01", "2026-W1"):
        with pytest.raises(ValueError, match="must be a month"):
            Month.parse(text)


def test_what_was_counted_until_now_is_included(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    assert [harness.request("/api/v1/crm/contacts/1") for _ in range(3)] == [200] * 3
    store("2023-10-31", "crm", fields(10, 5))
    store("2022-10-31", "crm", fields(1_000, 5))
    found = api_client.get("/metrics/savings").json()
    assert (found["from"], found["to"]) == ("2022-12", "2023-11")
    assert [(row["month"], row["savedCalls"], row["savedUsd"]) for row in found["savings"]] == [
        ("2023-11", 2, 1.0),
        ("2023-10", 10, 5.0),
    ]
    assert (found["total"]["requests"], found["total"]["savedCalls"]) == (18, 12)
    response = api_client.get("/metrics/savings?format=csv&to=2023-10")
    assert response["Content-Disposition"] == 'attachment; filename="savings-2022-11-2023-10.csv"'
    [line] = csv.DictReader(io.StringIO(response.content.decode(), newline=""))
    assert (line["month"], line["service"], line["saved_calls"], line["saved_usd"]) == (
        "2023-10",
        "crm",
        "10",
        "5.000000",
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("from=2023-11&to=2023-10", "from"),
        ("from=2020-01&to=2023-10", "at most 23 months"),
        ("to=yesterday", "to"),
        ("format=xml", "format"),
        ("colour=red", "colour"),
        ("to=2023-10&to=2023-11", "more than once"),
    ],
)
def test_a_wrong_query_is_refused_with_a_reason(harness: Harness, api_client: Client, query: str, reason: str) -> None:
    response = api_client.get(f"/metrics/savings?{query}")
    assert response.status_code == 400
    assert reason in response.json()["detail"]


def test_the_page_can_be_printed_and_explains_wrong_months(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    store("2023-10-31", "crm", fields(1_500, 500))
    store("2023-09-01", "mail", fields(3, 1))
    page = staff_client.get(PAGE).content.decode()
    for shown in (
        "October 2023",
        "September 2023",
        "1,500",
        "75.0 %",
        "750.00",
        "2.5 min",
        "All months",
        "14 Nov 2023, 22:14:00 UTC",
    ):
        assert shown in page
    german = staff_client.get(PAGE, headers={"Accept-Language": "de"}).content.decode()
    for shown in ("Oktober 2023", "1.500", "75,0 %", "2,5 min"):
        assert shown in german
    assert "/metrics/savings?from=2022-12&amp;to=2023-11&amp;format=csv" in page
    assert "October 2023" not in staff_client.get(f"{PAGE}?end=2023-09").content.decode()
    assert "Enter a month such as 2026-01." in staff_client.get(f"{PAGE}?start=soon").content.decode()
    wrong = staff_client.get(f"{PAGE}?start=2023-11&end=2023-10").content.decode()
    assert "The first month must not be after the last one." in wrong
    assert "No requests in these months" in staff_client.get(f"{PAGE}?start=0001-01&end=0001-02").content.decode()
    assert "November 2023" in staff_client.get(f"{PAGE}?start=9998-01&end=9999-12").content.decode()


def test_it_says_so_when_the_database_is_away(
    harness: Harness, staff_client: Client, api_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(report, "report", fail)
    assert "cannot be read while the database is unavailable" in staff_client.get(PAGE).content.decode()
    assert api_client.get("/metrics/savings").status_code == 503


def test_it_requires_the_right_to_read(harness: Harness) -> None:
    assert Client().get("/metrics/savings").status_code == 401
    assert Client(headers={"X-API-Key": harness.keys["write"]}).get("/metrics/savings").status_code == 403
    assert Client().get(PAGE).status_code == 302
