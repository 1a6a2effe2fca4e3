"""Request bodies and queries are held to the types of the OpenAPI schema."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

OPEN = "/metrics/circuit-breakers/crm/open"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (OPEN, '{"ttl": "5"}'),
        (OPEN, '{"ttl": true}'),
        (OPEN, '{"ttl": [5]}'),
        (OPEN, '{"ttl": 1e999}'),
        (OPEN, '{"ttl": NaN}'),
        (OPEN, '{"reason": 5}'),
        (OPEN, '{"reason": null}'),
        (OPEN, '{"reason": "a\\u0000"}'),
        (OPEN, '{"reason": "\\ud800"}'),
        (OPEN, "null"),
        (OPEN, '"text"'),
        ("/metrics/cache/warm", '{"dry_run": "true"}'),
        ("/metrics/cache/warm", '{"dry_run": 1}'),
        ("/metrics/cache/warm", '{"dry_run": null}'),
        ("/metrics/cache/warm", '{"paths": [1]}'),
        ("/metrics/cache/warm", '{"paths": {"a": 1}}'),
        ("/api/explain", '{"path": " /"}'),
        ("/api/explain", '{"path": "/", "method": " GET"}'),
    ],
)
def test_a_value_of_another_type_is_a_bad_request(harness: Harness, api_client: Client, path: str, body: str) -> None:
    harness.serve(ok())
    response = api_client.post(path, body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (OPEN, {"tll": 5}, "unknown: tll; known are ttl, reason"),
        ("/metrics/cache/warm", {"dryRun": True, "paths": ["/"]}, "unknown: dryRun; known are dry_run, paths"),
        (
            "/metrics/consumers/acme/quotas/reset",
            {"quota": "plan-day", "amount": 5},
            "unknown: amount; known are quota",
        ),
        ("/api/keys/aaaaaaaa/rotate", {"graceSeconds": 0}, "unknown: graceSeconds; known are grace"),
        ("/api/revocations", {"subject": "eve", "expires": "2030-01-01T00:00:00Z"}, "unknown: expires; known are"),
        (OPEN, dict.fromkeys(["x" * 500, *map(str, range(20))], 1), f"unknown: {'x' * 60}, 0, 1, 2, 3; known are"),
    ],
)
def test_an_unknown_member_is_a_bad_request(
    harness: Harness, admin_client: Client, path: str, body: dict[str, Any], detail: str
) -> None:
    """One that is misspelt would be another operation: without a limit of time, for real, or with a grace."""
    harness.serve(ok())
    response = admin_client.post(path, body, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert response.json()["detail"].startswith(detail)


@pytest.mark.parametrize(
    "query",
    [
        {"from": "nan"},
        {"from": "1_000"},
        {"from": "-1"},
        {"to": "1e300"},
        {"to": "\u0661\u0662"},
        {"step": "\u0666\u0660"},
        {"step": " 60"},
        {"step": "59"},
        {"service": "a\x00"},
    ],
)
def test_a_malformed_query_is_a_bad_request(harness: Harness, api_client: Client, query: dict[str, str]) -> None:
    response = api_client.get("/metrics/history", query)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/history?service=&from=&to=&step=",
        "/metrics/savings?from=&to=&format=",
        "/metrics/requests?status=&kind=&service=&from=&to=&before=&limit=",
    ],
)
def test_an_empty_parameter_of_a_read_is_one_that_is_not_given(harness: Harness, api_client: Client, path: str) -> None:
    """As a form sends its fields."""
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/1")
    plain = path.partition("?")[0]
    sent, expected = (api_client.get(each) for each in (path, plain))
    assert (sent.status_code, expected.status_code) == (200, 200)
    assert sent.json() == expected.json()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/metrics/cache", {"dry_run": True}),
        ("DELETE", "/metrics/cache/crm", {"tag": "contacts"}),
        ("POST", "/metrics/cache/reset", ["crm"]),
        ("POST", "/metrics/circuit-breakers/reset", {"service": "crm"}),
        ("DELETE", "/api/config/services/crm", {"dry_run": True}),
    ],
)
def test_content_of_an_operation_that_has_none_is_a_bad_request(
    harness: Harness, admin_client: Client, method: str, path: str, body: Any
) -> None:
    """It would be ignored, and more would be written than was meant."""
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/1")
    response: Any = admin_client.generic(method, path, json.dumps(body), content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert admin_client.get("/metrics/cache").json()["byService"]["crm"]["entries"] == 1


@pytest.mark.parametrize(("sent", "content_type"), [("", "application/json"), ("{}", "application/json"), ("", "")])
def test_an_operation_without_content_takes_empty_content(
    harness: Harness, api_client: Client, sent: str, content_type: str
) -> None:
    response: Any = api_client.generic("POST", "/metrics/cache/reset", sent, content_type=content_type)
    assert response.status_code == 200


@pytest.mark.parametrize(("value", "status"), [("1", 200), ("true", 200), ("False", 200), ("yes", 400), ("", 400)])
def test_a_flag_in_a_query(harness: Harness, api_client: Client, value: str, status: int) -> None:
    harness.serve(ok())
    assert api_client.delete(f"/metrics/cache/crm?dry_run={value}").status_code == status


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/merge-patch+json", 200),
        ("application/x-www-form-urlencoded", 200),  # as curl -d
        ("text/plain", 415),
        ("multipart/form-data; boundary=x", 415),
        ("nonsense", 415),
    ],
)
def test_a_body_that_is_not_json_is_an_unsupported_media_type(
    harness: Harness, api_client: Client, content_type: str, status: int
) -> None:
    harness.serve(ok())
    response: Any = api_client.generic("POST", OPEN, '{"ttl": 5}', content_type=content_type)
    assert response.status_code == status
    assert status == 200 or response.json()["code"] == "unsupported_media_type"
