"""`POST /api/explain`, and the admin's page for the same."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics import services
from resilience.breaker.machine import State
from routing.database.api_keys import issue
from routing.models import ApiKey
from tests.metrics.panel import Panel, ok

pytestmark = pytest.mark.django_db


def explain(panel: Panel, body: Any, key: str = "read") -> Any:
    return Client().post("/api/explain", body, content_type="application/json", headers={"X-API-Key": panel.keys[key]})


def test_it_tells_the_way_of_a_request_and_calls_nobody(panel: Panel) -> None:
    origin = panel.serve(ok())
    said = explain(panel, {"method": "GET", "path": "/api/v1/crm/contacts/7?a=1", "caller": "firebase:ada"}).json()
    assert said["verdict"]["outcome"] == "the backend is called"
    assert said["service"]["route"] == "/contacts/{id}"
    assert said["request"] == {
        "method": "GET",
        "path": "/api/v1/crm/contacts/7",
        "query": "a=1",
        "caller": "firebase:ada",
    }
    assert origin.connections == 0


def test_a_caller_is_a_key_by_its_prefix_one_spelt_out_or_nobody(panel: Panel) -> None:
    panel.serve(ok())
    issue(key := ApiKey(name="ci", scopes=["crm"]))
    path = "/api/v1/crm/contacts/7"
    for caller, code in (
        (f"key:{key.prefix}", None),
        ({"id": "x", "scopes": ["crm"]}, None),
        ({"id": "x", "scopes": ["billing"]}, "forbidden"),
        (None, "unauthenticated"),
    ):
        assert explain(panel, {"path": path, "caller": caller}).json()["verdict"]["code"] == code


def test_it_sees_the_circuit_as_it_is_now(panel: Panel) -> None:
    panel.serve(ok())
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "a test")
    said = explain(panel, {"path": "/api/v1/crm/contacts/7", "caller": "firebase:ada"}).json()
    assert (said["verdict"]["status"], said["circuit"]["state"], said["circuit"]["reason"]) == (
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
def test_what_is_no_question_is_400(panel: Panel, body: Any) -> None:
    assert explain(panel, body).status_code == 400


def test_it_asks_for_the_right_to_read(panel: Panel, staff: Client) -> None:
    assert Client().post("/api/explain").status_code == 401
    assert explain(panel, {"path": "/"}, key="every").status_code == 403
    assert explain(panel, {"path": "/"}, key="write").status_code == 403
    assert staff.post("/api/explain", {"path": "/"}, content_type="application/json").status_code == 403  # no token


def test_the_admins_page_says_the_same(panel: Panel, staff: Client) -> None:
    panel.serve(ok())
    page = staff.get("/admin/explain/", {"path": "/api/v1/CRM/x", "caller": "firebase:ada"}).content.decode()
    assert "crm: names are case-sensitive" in page
    page = staff.get("/admin/explain/", {"path": "/api/v1/crm/contacts/<b>", "caller": "firebase:ada"}).content.decode()
    assert "matches: the first route that matches" in page
    assert "contacts/<b>" not in page


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"path": "crm"}, "path must begin with a slash"),
        ({"path": "/", "caller": "somebody"}, "is not an active API key"),
        ({"path": "/", "headers": "nonsense"}, "Enter each header as Name: value."),
    ],
)
def test_the_admins_page_says_what_is_wrong_at_its_field(
    panel: Panel, staff: Client, asked: dict[str, str], fault: str
) -> None:
    assert fault in staff.get("/admin/explain/", asked).content.decode()


def test_the_page_is_staffs(panel: Panel) -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/admin/explain/").status_code == 302
