"""The pages of callers: what they show, their filters, and what they say of wrong ones."""

from html import unescape

import pytest
from django.db import DatabaseError
from django.test import Client

from metrics import quotas
from metrics.callers import detail, ranking
from metrics.quotas import QuotaStatus
from tests.metrics.callers import TODAY, configure, store_usage
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db

PAGE = "/dashboard/callers/"


def text(client: Client, path: str = "") -> str:
    response = client.get(f"{PAGE}{path}")
    assert response.status_code == 200
    return unescape(response.content.decode())


def test_it_shows_who_uses_most(harness: Harness, staff_client: Client) -> None:
    store_usage()
    page = staff_client.get(PAGE).content.decode()
    shown = (
        "acme",
        "2.6 EUR",
        "4 limited",
        "68.2 %",
        "key:cccccccc",
        "no consumer",
        "anonymous",
        "14 Nov 2023, 22:14:00 UTC",
    )
    for each in shown:
        assert each in page
    assert "jwt+x:<b>" not in page
    assert "jwt+x:&lt;b&gt;&amp;" in page
    assert "/dashboard/callers/caller/?name=jwt%2Bx%3A%3Cb%3E%26" in page
    assert page.index(">acme<") < page.index(">key:cccccccc<")


def test_columns_sort_and_filters_stay(harness: Harness, staff_client: Client) -> None:
    store_usage()
    page = text(staff_client, "?sort=errors&service=crm&start=2023-11-01")
    assert page.index(">key:cccccccc<") < page.index(">acme<")
    assert (
        'aria-sort="descending"><a href="?by=caller&start=2023-11-01&end=2023-11-14&service=crm&sort=errors">Errors'
        in page
    )
    assert "jwt+x" not in page
    keys = text(staff_client, "?by=key")
    assert "/dashboard/callers/key/?name=aaaaaaaa" in keys
    assert "Nobody has called in this range" in text(staff_client, "?start=2022-01-01&end=2022-01-31")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("start=yesterday", "Enter a valid date."),
        (f"start={TODAY}&end=2023-11-01", "The first day must not be after the last one."),
        ("by=planet", "Select a valid choice."),
        ("sort=luck", "Select a valid choice."),
        ("service=a%00", "Null characters are not allowed."),
        ("start=0001-01-01&end=9999-12-31", "Nobody has called in this range"),
    ],
)
def test_a_wrong_filter_is_explained(harness: Harness, staff_client: Client, query: str, message: str) -> None:
    assert message in text(staff_client, f"?{query}")


def test_the_page_of_a_consumer(harness: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store_usage()
    acme = configure()
    used = QuotaStatus("plan-day", "day", 10_000, 9_000, NOW + 3_600)
    monkeypatch.setattr(quotas, "quotas_of", lambda _name: [used])
    page = text(staff_client, "consumer/?name=acme")
    for shown in (
        "plan-day",
        "9,000 of 10,000",
        "90 %, until 14 Nov 2023, 23:14:00 UTC",
        "rate 100/m",
        "of the plan pro",
        f"/admin/routing/consumer/{acme.pk}/change/",
        "/dashboard/requests/?consumer=acme&service=crm&kind=failed",
        "/dashboard/requests/?consumer=acme&service=crm&route=%2Fa&kind=client_error",
        "/dashboard/callers/team/?name=sales",
        ">billing<",
        "13 Nov 2023: 30 requests, 1 errors",
    ):
        assert shown in page


def test_the_page_of_a_key_says_when_and_where_it_was_used(harness: Harness, staff_client: Client) -> None:
    store_usage()
    acme = configure()
    acme.keys.filter(prefix="aaaaaaaa").update(
        last_used_at="2023-11-14T21:00:00Z", last_used_from="192.0.2.7", last_used_service="crm"
    )
    page = text(staff_client, "key/?name=aaaaaaaa")
    assert "14 Nov 2023, 21:00:00 UTC from 192.0.2.7 for crm" in page
    assert "/dashboard/callers/consumer/?name=acme" in page
    assert "never" in text(staff_client, "key/?name=bbbbbbbb")


def test_words_of_german_pages_are_german_and_nouns_keep_their_capital(harness: Harness, staff_client: Client) -> None:
    store_usage()
    configure().keys.filter(prefix="aaaaaaaa").update(revoked_at="2023-11-14T21:00:00Z")
    german = {"Accept-Language": "de"}
    assert "nach Anfragen, absteigend" in staff_client.get(PAGE, headers=german).content.decode()
    page = staff_client.get(f"{PAGE}key/?name=aaaaaaaa", headers=german).content.decode()
    assert "Widerrufen" in page
    assert "evoked" not in page


def test_what_is_no_longer_configured_is_still_shown(harness: Harness, staff_client: Client) -> None:
    store_usage()
    assert "The configuration has nothing of this name, or no longer." in text(staff_client, "consumer/?name=acme")
    assert "anonymous" in text(staff_client, "caller/?name=")
    assert 'bbbbbbbb</a><span class="sub">acme<' in text(staff_client, "?by=key")
    assert "/dashboard/callers/consumer/?name=acme" in text(staff_client, "key/?name=bbbbbbbb")


@pytest.mark.parametrize("path", ["planet/?name=acme", "consumer/?name=nobody", "consumer/", "key/?name=a%00"])
def test_an_unknown_caller_is_not_found(harness: Harness, staff_client: Client, path: str) -> None:
    assert staff_client.get(f"{PAGE}{path}").status_code == 404


def test_it_says_so_when_the_database_is_away(
    harness: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(ranking, "ranking", fail)
    monkeypatch.setattr(detail, "caller_detail", fail)
    assert "cannot be read while the database is unavailable" in text(staff_client)
    assert staff_client.get(f"{PAGE}consumer/?name=acme").status_code == 503


def test_it_requires_staff_who_may_view(harness: Harness, db: None) -> None:
    assert Client().get(PAGE).status_code == 302
    assert Client().get(f"{PAGE}consumer/?name=acme").status_code == 302
