"""`/metrics/callers`: who uses most, and one caller."""

from typing import Any

import pytest
from django.db import DatabaseError
from django.test import Client

from metrics.callers import detail, ranking
from metrics.models import DailyUsage
from tests.metrics.callers import BEFORE, TODAY, configure, store_usage
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db(transaction=True)


def get(client: Client, path: str) -> dict[str, Any]:
    response = client.get(f"/metrics/callers{path}")
    assert response.status_code == 200, response.content
    document: dict[str, Any] = response.json()
    return document


def names(client: Client, query: str) -> list[tuple[str, str]]:
    return [(each["kind"], each["name"]) for each in get(client, f"?{query}")["callers"]]


ACME, KEY, IDENTITY, ANONYMOUS = (
    ("consumer", "acme"),
    ("caller", "key:cccccccc"),
    ("caller", "jwt+x:<b>&"),
    ("caller", ""),
)


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("requests", [ACME, KEY]),
        ("errors", [KEY, ACME]),
        ("refused", [KEY, ACME]),
        ("bytes", [ACME]),
        ("backend_seconds", [IDENTITY]),
        ("money", [ACME]),
    ],
)
def test_callers_are_ordered_by_what_they_use(
    harness: Harness, api_client: Client, sort: str, first: list[tuple[str, str]]
) -> None:
    store_usage()
    found = names(api_client, f"sort={sort}")
    assert found[: len(first)] == first
    assert sorted(found) == sorted([ACME, KEY, IDENTITY, ANONYMOUS])


def test_a_caller_has_its_sums_and_its_last_use(harness: Harness, api_client: Client) -> None:
    store_usage()
    DailyUsage.objects.filter(caller="key:cccccccc").update(last_at=0)  # as an earlier version has stored it
    found = get(api_client, "?limit=2")
    acme, key = found["callers"]
    assert (acme["requests"], acme["errors"], acme["refused"], acme["limited"]) == (137, 10, 5, 4)
    assert (acme["bytesOut"], acme["bytesIn"], acme["cached"]) == (2_048, 10, 50)
    assert acme["money"] == [{"amount": "2.6", "currency": "EUR"}]
    assert (acme["lastUsed"], acme["lastDay"]) == ("2023-11-14T22:14:00Z", TODAY)
    assert (key["lastUsed"], key["lastDay"], key["money"]) == (None, TODAY, [])
    assert (found["total"]["requests"], found["currency"], found["next"]) == (201, "EUR", 2)
    assert names(api_client, "limit=2&offset=2") == [IDENTITY, ANONYMOUS]
    assert names(api_client, f"from={BEFORE}&to={BEFORE}") == [ACME]
    assert names(api_client, "service=mail") == [ACME, IDENTITY]


def test_keys_and_teams_are_ranked_too(harness: Harness, api_client: Client) -> None:
    store_usage()
    configure()
    keys = get(api_client, "?by=key")["callers"]
    assert [(each["name"], each["title"], each["consumer"], each["requests"]) for each in keys] == [
        ("aaaaaaaa", "billing", "acme", 107),
        ("cccccccc", "", "", 60),
        ("bbbbbbbb", "reports", "acme", 30),
    ]
    [team] = get(api_client, "?by=team")["callers"]
    assert (team["kind"], team["name"], team["requests"]) == ("team", "sales", 137)


def test_the_requests_of_a_key_are_found_at_once(harness: Harness, api_client: Client) -> None:
    assert harness.request("/api/v1/nothing") == 404
    [caller] = get(api_client, "")["callers"]
    assert (caller["kind"], caller["requests"], caller["refused"], caller["limited"]) == ("caller", 1, 1, 0)
    prefix = caller["name"].removeprefix("key:")
    assert get(api_client, f"/key?name={prefix}")["total"]["refused"] == 1


def test_a_caller_has_its_limits_and_members(harness: Harness, api_client: Client) -> None:
    store_usage()
    configure()
    found = get(api_client, f"/consumer?name=acme&from={BEFORE}")
    assert (found["configured"], found["enabled"], found["team"], found["plan"]) == (True, True, "sales", "pro")
    assert found["limits"] == [
        {"owner": "plan pro", "name": "rate", "value": "100/m"},
        {"owner": "team sales", "name": "concurrency", "value": "5"},
    ]
    [owner] = get(api_client, "/key?name=bbbbbbbb")["members"]
    assert (owner["kind"], owner["name"], owner["requests"]) == ("consumer", "acme", 30)
    assert get(api_client, "/key?name=cccccccc")["members"] == []
    assert found["quotas"] == []  # this worker has not loaded the consumer
    assert [(each["service"], each["requests"]) for each in found["services"]] == [("crm", 130), ("mail", 7)]
    assert [(each["service"], each["route"]) for each in found["routes"]] == [("crm", "/a"), ("mail", "")]
    assert [(day["day"], day["requests"], day["errors"]) for day in found["days"]] == [(BEFORE, 30, 1), (TODAY, 107, 9)]
    assert [(key["name"], key["title"]) for key in found["members"]] == [
        ("aaaaaaaa", "billing"),
        ("bbbbbbbb", "reports"),
    ]
    assert (found["total"]["limited"], found["lastDay"]) == (4, TODAY)


@pytest.mark.parametrize(
    ("path", "requests", "configured"),
    [
        ("/key?name=bbbbbbbb", 30, True),
        ("/key?name=cccccccc", 60, False),
        ("/team?name=sales", 137, True),
        ("/caller?name=key:cccccccc", 60, False),
        ("/caller?name=jwt%2Bx:%3Cb%3E%26", 3, False),
        ("/caller", 1, False),
        ("/caller?name=key:aaaaaaaa", 0, True),
    ],
)
def test_every_kind_of_caller(harness: Harness, api_client: Client, path: str, requests: int, configured: bool) -> None:
    store_usage()
    configure()
    found = get(api_client, path)
    assert (found["total"]["requests"], found["configured"]) == (requests, configured)


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("?by=planet", 400, "by"),
        ("?sort=luck", 400, "sort"),
        ("?limit=1001", 400, "limit"),
        ("?from=2023-11-15&to=2023-11-14", 400, "from"),
        ("?from=2020-01-01&to=2023-11-14", 400, "at most 399 days"),
        ("?from=0001-01-01&to=0001-01-01", 200, ""),
        ("?colour=red", 400, "colour"),
        ("?by=key&by=team", 400, "more than once"),
        ("/consumer", 400, "name"),
        ("/consumer?name=%00", 400, "name"),
        ("/consumer?name=nobody", 404, "no such caller"),
        ("/planet?name=acme", 404, ""),
    ],
)
def test_a_wrong_query_is_refused_with_a_reason(
    harness: Harness, api_client: Client, path: str, status: int, reason: str
) -> None:
    response = api_client.get(f"/metrics/callers{path}")
    assert response.status_code == status
    assert reason in response.json().get("detail", "")


@pytest.mark.parametrize("path", ["/metrics/callers", "/metrics/callers/caller"])
def test_it_requires_the_right_to_read(harness: Harness, staff_client: Client, path: str) -> None:
    store_usage()
    assert Client().get(path).status_code == 401
    assert Client(headers={"X-API-Key": harness.keys["write"]}).get(path).status_code == 403
    assert Client(headers={"X-API-Key": harness.keys["read"]}).get(path).status_code == 200
    assert staff_client.get(path).status_code == 200


def test_it_is_unavailable_with_the_database(
    harness: Harness, api_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError

    monkeypatch.setattr(ranking, "ranking", fail)
    monkeypatch.setattr(detail, "caller_detail", fail)
    for path in ("", "/consumer?name=acme"):
        assert api_client.get(f"/metrics/callers{path}").status_code == 503
