"""The request log over HTTP: searches, their faults, and who may read it."""

from typing import Any

import msgspec
import pytest
from django.test import Client

from routing.router.policy import RoutePolicy
from routing.router.request_log_policy import RequestLogPolicy
from tests.metrics.harness import SHARED, Harness, ok

pytestmark = pytest.mark.django_db

PATH = "/metrics/requests"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
NO_SAMPLE: RoutePolicy = msgspec.structs.replace(SHARED, request_log=RequestLogPolicy(sample=0))


@pytest.fixture
def served(harness: Harness) -> Harness:
    harness.serve(BROKEN, BROKEN, BROKEN, name="broken", policy=NO_SAMPLE)
    harness.serve(ok(), name="crm", policy=NO_SAMPLE)
    harness.request("/api/v1/broken/contacts/7?secret=1")
    harness.request("/api/v1/crm/contacts/7")
    Client().get("/api/v1/crm/contacts/7", headers={"X-Request-ID": "unknown-caller"})
    return harness


def search(client: Client, query: str = "") -> Any:
    response = client.get(f"{PATH}?{query}")
    assert response.status_code == 200, response.content
    return response.json()


@pytest.mark.parametrize(
    ("query", "statuses"),
    [
        ("", [401, 500]),
        ("status=500", [500]),
        ("status=4xx", [401]),
        ("service=broken", [500]),
        ("service=broken&status=401", []),
        ("route=/contacts/{id}&service=broken", [500]),
        ("code=unauthenticated", [401]),
        ("id=unknown-caller", [401]),
        ("kind=client_error", [401]),
        ("kind=sampled", []),
        ("from=2020-01-01T00:00:00Z", [401, 500]),
        ("to=2020-01-01T00:00:00Z", []),
    ],
)
def test_it_is_searched_by_what_is_known_of_a_request(
    served: Harness, api_client: Client, query: str, statuses: list[int]
) -> None:
    assert [each["status"] for each in search(api_client, query)["requests"]] == statuses


def test_it_is_searched_by_who_called(served: Harness, api_client: Client) -> None:
    caller = search(api_client, "status=500")["requests"][0]["caller"]
    assert caller.startswith("key:")
    assert len(search(api_client, f"caller={caller}")["requests"]) == 1
    prefix = caller.removeprefix("key:")
    for key in (prefix, caller, f"gw_{prefix}"):
        assert len(search(api_client, f"key={key}")["requests"]) == 1, key


def test_a_search_continues_where_another_has_ended(served: Harness, api_client: Client) -> None:
    first = search(api_client, "limit=1")
    assert [each["status"] for each in first["requests"]] == [401]
    second = search(api_client, f"limit=1&before={first['next']}")
    assert [each["status"] for each in second["requests"]] == [500]


def test_one_request_is_found_by_its_id_with_its_steps_and_nothing_secret(served: Harness, api_client: Client) -> None:
    (record,) = api_client.get(f"{PATH}/unknown-caller").json()["requests"]
    assert [step["name"] for step in record["steps"]] == ["request id", "rate limit", "authentication", "return"]
    failed = search(api_client, "status=500")["requests"][0]
    assert failed["query"] == "secret=***"
    assert served.keys["every"] not in str(failed)
    missing = api_client.get(f"{PATH}/nothing")
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_request")


@pytest.mark.parametrize(
    "query",
    [
        "status=abc",
        "kind=other",
        "before=1",
        "limit=0",
        "from=yesterday",
        "nothing=1",
        "id=a&id=b",
        "service=%00",
        "before=99999999999999999-0",
        "from=2026-02-01&to=2026-01-01",
    ],
)
def test_a_wrong_search_is_refused(served: Harness, api_client: Client, query: str) -> None:
    response = api_client.get(f"{PATH}?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_only_those_who_may_read_the_metrics_read_it(served: Harness, staff_client: Client) -> None:
    for path in (PATH, f"{PATH}/unknown-caller"):
        assert Client().get(path).status_code == 401
        assert Client(headers={"X-API-Key": served.keys["every"]}).get(path).status_code == 403
        assert Client(headers={"X-API-Key": served.keys["read"]}).get(path).status_code == 200
        assert staff_client.get(path).status_code == 200
        assert staff_client.post(path).status_code in (403, 405)
