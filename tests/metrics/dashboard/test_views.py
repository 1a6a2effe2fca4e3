"""The dashboard's pages and the JSON they show."""

import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from metrics import services
from metrics.audit import record_operation
from metrics.models import AlertMessage, CircuitChange
from resilience.breaker.machine import State
from routing.database.apply import apply_document
from routing.models import ConfigurationProposal, Service
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

PAGES = ["/dashboard/", "/dashboard/events/", "/dashboard/usage/", "/dashboard/services/crm/"]
DATA = [
    "/dashboard/snapshot.json",
    "/dashboard/history.json?range=24h",
    "/dashboard/services/crm/detail.json",
    "/dashboard/services/crm/incident.json",
]


@pytest.mark.parametrize("path", [*PAGES, *DATA])
def test_a_user_who_is_not_staff_is_redirected_to_the_login(harness: Harness, path: str) -> None:
    harness.serve(ok())
    eve = Client()
    eve.force_login(User.objects.create_user("eve"))
    for client in (Client(), eve):
        response = client.get(path)
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/login/?next=/dashboard/")


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/dashboard/services/crm/?range=24h", "/dashboard/services/crm/?range=24h"),
        ("//evil.test/", "/admin/"),
        ("", "/admin/"),
    ],
)
def test_the_login_leads_whoever_is_signed_in_to_the_page_that_was_wanted(
    staff_client: Client, wanted: str, target: str
) -> None:
    """As in a second tab, after a sign-in in the first."""
    response = staff_client.get("/admin/login/", {"next": wanted})
    assert (response.status_code, response["Location"]) == (302, target)
    eve = Client()
    eve.force_login(User.objects.create_user("eve"))
    assert [client.get("/admin/login/", {"next": wanted}).status_code for client in (Client(), eve)] == [200, 200]


@pytest.mark.parametrize("path", [*PAGES, *DATA, "/dashboard/replay/"])
def test_a_page_can_be_asked_for_by_head(harness: Harness, admin_client: Client, path: str) -> None:
    harness.serve(ok())
    assert admin_client.head(path).status_code == 200
    assert Client().head(path).status_code == 302
    assert admin_client.put(path).status_code == 405


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_nothing_inline_and_loads_nothing_from_other_hosts(
    harness: Harness, staff_client: Client, path: str
) -> None:
    harness.serve(ok())
    response = staff_client.get(path)
    page = response.content.decode()
    assert response.status_code == 200
    policy = dict(part.split(" ", 1) for part in response["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert policy["connect-src"] == "'self' ws://testserver wss://testserver"
    assert " style=" not in page
    assert " onclick=" not in page
    assert "<script>" not in page
    assert 'src="http' not in page
    assert response["Cache-Control"] == "private, no-store"


@pytest.mark.parametrize(("path", "script"), [("/dashboard/", "overview"), ("/dashboard/services/crm/", "service")])
def test_all_modules_that_a_page_imports_are_fetched_at_once(
    harness: Harness, staff_client: Client, path: str, script: str
) -> None:
    harness.serve(ok())
    scripts = Path(settings.BASE_DIR) / "metrics" / "static" / "dashboard"
    imported: set[str] = set()
    unread = [script]
    while unread:
        text = (scripts / f"{unread.pop()}.js").read_text(encoding="utf-8")
        found = set(re.findall(r'^import .* from "\./(\w+)\.js";$', text, re.MULTILINE)) - imported
        imported |= found
        unread += found
    page = staff_client.get(path).content.decode()
    assert set(re.findall(r'<link rel="modulepreload" href="/static/dashboard/(\w+)\.js">', page)) == imported


@pytest.mark.parametrize("path", ["/dashboard/services/nothing/", "/dashboard/services/nothing/detail.json"])
def test_an_unknown_service_is_404(harness: Harness, staff_client: Client, path: str) -> None:
    assert staff_client.get(path).status_code == 404


@pytest.mark.parametrize("name", ["events", "services", "snapshot", "history", "usage"])
def test_a_service_named_like_a_page_hides_none(harness: Harness, staff_client: Client, name: str) -> None:
    harness.serve(ok(), name=name)
    page = reverse("dashboard:service", args=[name])
    assert f'id="service" data-name="{name}"' in staff_client.get(page).content.decode()
    assert staff_client.get(reverse("dashboard:detail", args=[name])).json()["tags"][0] == {"tag": None, "entries": 0}
    assert 'id="events-page"' in staff_client.get("/dashboard/events/").content.decode()


def test_the_snapshot_has_the_live_data(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/7")
    harness.request("/api/v1/crm/contacts/7")
    document = staff_client.get("/dashboard/snapshot.json").json()
    assert document["summary"]["total"]["requests"] == 2
    (crm,) = document["services"]
    assert (crm["name"], crm["circuit"]["state"], crm["total"]["hits"]) == ("crm", "CLOSED", 1)


def test_a_services_detail_has_tags_operations_and_transitions(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    harness.request("/api/v1/crm/contacts/7")
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "a test")
    at = datetime.fromtimestamp(harness.clock(), UTC)
    CircuitChange.objects.create(at=at, service="crm", before="CLOSED", after="FORCED_OPEN", reason="a test")
    document = staff_client.get("/dashboard/services/crm/detail.json").json()
    assert document["tags"] == [{"tag": None, "entries": 1}, {"tag": "contacts", "entries": 1}]
    assert [(done["actor"], done["action"]) for done in document["operations"]] == [("staff:ada", "circuit.open")]
    assert [(transition["before"], transition["after"], transition["reason"]) for transition in document["moves"]] == [
        ("CLOSED", "FORCED_OPEN", "a test")
    ]


def test_the_root_redirects_to_the_dashboard() -> None:
    response = Client().get("/")
    assert (response.status_code, response["Location"]) == (302, "/dashboard/")


def test_a_message_about_an_alert_names_its_service_and_a_cut_state_ends_with_dots(
    harness: Harness, staff_client: Client
) -> None:
    harness.serve(ok())
    change = {"kind": "firing", "subject": "crm", "summary": "5 failures within 60 s"}
    shown = change | {"summary": "crm: 5% of responses are errors"}
    for number, each in enumerate((change, shown)):
        AlertMessage.objects.create(id=str(number), recipient="slack:x", changes=[each], created_at=number, due_at=0)
    page = staff_client.get("/dashboard/alerts/").content.decode()
    assert "Firing: crm: <span data-sentence>5 failures within 60 s" in page
    assert "Firing: <span data-sentence>crm: 5% of responses" in page
    record_operation("staff:ada", "circuit.open", "crm", after={"reason": "r" * 200})
    [operation] = staff_client.get("/dashboard/services/crm/detail.json").json()["operations"]
    assert (len(operation["after"]), operation["after"][-1]) == (120, "…")


def test_a_services_page_leads_to_its_form_and_to_its_targets(harness: Harness, staff_client: Client) -> None:
    harness.serve(ok())
    apply_document({"version": 1, "services": {"crm": {"targets": [{"url": "http://127.0.0.1:9"}]}}})
    page = staff_client.get("/dashboard/services/crm/").content.decode()
    assert f'href="/admin/routing/service/{Service.objects.get().pk}/change/"' in page
    assert 'href="/admin/routing/target/?q=crm"' in page
    Service.objects.all().delete()
    assert 'href="/admin/routing/service/"' in staff_client.get("/dashboard/services/crm/").content.decode()


def test_those_who_may_decide_are_told_of_changes_that_wait(
    harness: Harness, staff_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.serve(ok())
    ConfigurationProposal.objects.create(author="staff:bob", summary="changed crm", parts={}, differences={})
    owner = Client()
    owner.force_login(User.objects.create_superuser("root"))
    assert "waits for approval" not in owner.get("/dashboard/").content.decode()
    monkeypatch.setattr(settings, "CONFIG", msgspec.structs.replace(settings.CONFIG, approval=True))
    page = owner.get("/dashboard/").content.decode()
    assert "1 change waits for approval" in page
    assert 'data-proposals="/admin/routing/configurationproposal/"' in page
    assert "waits for approval" not in staff_client.get("/dashboard/").content.decode()  # who may not decide
