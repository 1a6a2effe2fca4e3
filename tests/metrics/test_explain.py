"""`POST /api/explain` and the admin's page for it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics import services
from resilience.breaker.machine import State
from routing.database.api_keys import issue
from routing.models import ApiKey
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db


def explain(harness: Harness, body: Any, key: str = "read") -> Any:
    return Client().post(
        "/api/explain", body, content_type="application/json", headers={"X-API-Key": harness.keys[key]}
    )


def test_it_explains_a_request_without_calling_the_backend(harness: Harness) -> None:
    origin = harness.serve(ok())
    request = {"method": "GET", "path": "/api/v1/crm/contacts/7?a=1", "caller": "firebase:ada"}
    explanation = explain(harness, request).json()
    assert explanation["verdict"]["outcome"] == "the backend is called"
    assert explanation["service"]["route"] == "/contacts/{id}"
    assert explanation["request"] == {
        "method": "GET",
        "path": "/api/v1/crm/contacts/7",
        "query": "a=1",
        "caller": "firebase:ada",
    }
    assert origin.connections == 0


def test_a_caller_is_a_key_prefix_a_hypothetical_caller_or_none(harness: Harness) -> None:
    harness.serve(ok())
    issue(key := ApiKey(name="ci", scopes=["crm"]))
    path = "/api/v1/crm/contacts/7"
    for caller, code in (
        (f"key:{key.prefix}", None),
        ({"id": "x", "scopes": ["crm"]}, None),
        ({"id": "x", "scopes": ["billing"]}, "forbidden"),
        (None, "unauthenticated"),
    ):
        assert explain(harness, {"path": path, "caller": caller}).json()["verdict"]["code"] == code


def test_it_uses_the_current_state_of_the_circuit(harness: Harness) -> None:
    harness.serve(ok())
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "a test")
    explanation = explain(harness, {"path": "/api/v1/crm/contacts/7", "caller": "firebase:ada"}).json()
    assert (explanation["verdict"]["status"], explanation["circuit"]["state"], explanation["circuit"]["reason"]) == (
        503,
        "FORCED_OPEN",
        "a test",
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"path": "crm"},
        {"path": "/", "method": "G T"},
        {"path": "/", "caller": "key:aaaaaaaa"},
        {"path": "/", "callr": None},
        {"path": "/", "headers": {"x": "\u2713"}},
    ],
)
def test_an_invalid_request_is_400(harness: Harness, body: Any) -> None:
    assert explain(harness, body).status_code == 400


def test_it_requires_permission_to_read(harness: Harness, staff_client: Client) -> None:
    assert Client().post("/api/explain").status_code == 401
    assert explain(harness, {"path": "/"}, key="every").status_code == 403
    assert explain(harness, {"path": "/"}, key="write").status_code == 403
    assert (
        staff_client.post("/api/explain", {"path": "/"}, content_type="application/json").status_code == 403
    )  # no token


def test_the_admin_page_shows_the_explanation(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    page = staff_client.get("/admin/explain/", {"path": "/api/v1/CRM/x", "caller": "firebase:ada"}).content.decode()
    assert "crm: names are case-sensitive" in page
    page = staff_client.get(
        "/admin/explain/", {"path": "/api/v1/crm/contacts/<b>", "caller": "firebase:ada"}
    ).content.decode()
    assert "matches: the first route that matches" in page
    assert "contacts/<b>" not in page


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"path": "crm"}, "path must begin with a slash"),
        ({"path": "/", "caller": "somebody"}, "is not an active API key"),
        ({"path": "/", "headers": "nonsense"}, "Enter each header as Name: value."),
    ],
)
def test_the_admin_page_shows_an_error_at_the_invalid_field(
    harness: Harness, staff_client: Client, query: dict[str, str], error: str
) -> None:
    assert error in staff_client.get("/admin/explain/", query).content.decode()


def test_the_page_requires_staff(harness: Harness) -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/admin/explain/").status_code == 302
