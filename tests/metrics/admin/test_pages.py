"""The admin pages for operations: circuits, cache, configuration history and audit log."""

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from metrics import services
from metrics.audit import record_operation
from metrics.models import Circuit, Operation
from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from routing.database.actor import acting_as
from routing.database.apply import apply_document
from routing.database.loader import raw_document
from routing.models import ConfigurationRevision, Service, Target
from tests.metrics.harness import Harness, ok

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("harness")]

CIRCUITS = "/admin/metrics/circuit/"
CACHE = "/admin/metrics/cachedservice/"
HISTORY = "/admin/routing/configurationrevision/"
AUDIT_LOG = "/admin/metrics/operation/"


@pytest.fixture
def crm(harness: Harness) -> Service:
    harness.serve(ok())
    service = Service.objects.create(name="crm")
    Target.objects.create(service=service, url="http://a")
    return service


def act(client: Client, url: str, action: str, *rows: Any, **more: str) -> str:
    response = client.post(url, {"action": action, "_selected_action": [row.pk for row in rows], **more}, follow=True)
    return unescape(response.content.decode())


def recorded_operations() -> list[tuple[str, str, str]]:
    """The operations on circuits and cache, latest first."""
    steered = Operation.objects.exclude(action__startswith="service").exclude(action__startswith="target")
    return list(steered.values_list("actor", "action", "service"))


def state(harness: Harness) -> State:
    return harness.breakers.of("crm", BreakerPolicy()).state()


def test_circuits_are_listed_with_their_current_state(root: Client, crm: Service) -> None:
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, 60, "maintenance")
    page = root.get(CIRCUITS).content.decode()
    assert "Forced open" in page
    assert "maintenance" in page


def test_a_circuit_is_forced_open_with_a_reason_and_reset(harness: Harness, root: Client, crm: Service) -> None:
    assert "An override needs a reason" in act(root, CIRCUITS, "force_open", crm)
    assert state(harness) is State.CLOSED
    act(root, CIRCUITS, "force_open", crm, ttl="300", reason="maintenance")
    assert state(harness) is State.FORCED_OPEN
    assert harness.breakers.of("crm", BreakerPolicy()).snapshot.until == harness.clock() + 300
    act(root, CIRCUITS, "reset", crm)
    assert state(harness) is State.CLOSED
    assert recorded_operations() == [("staff:root", "circuit.reset", "crm"), ("staff:root", "circuit.open", "crm")]


def reset_page(circuit: Any) -> str:
    return f"{CIRCUITS}{circuit.pk}/reset/"


def client_with(*permissions: str) -> Client:
    """A client of a staff user with these permissions, with CSRF checks."""
    eve = User.objects.create_user("eve", is_staff=True)
    eve.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client(enforce_csrf_checks=True)
    client.force_login(eve)
    return client


def test_a_circuits_row_action_resets_it_after_confirmation(harness: Harness, root: Client, crm: Service) -> None:
    services.override_circuit("staff:ada", "crm", State.FORCED_OPEN, None, "<b>maintenance")
    assert reset_page(crm) in root.get(CIRCUITS).content.decode()
    dialog = root.get(reset_page(crm)).content.decode()
    assert "Reset the circuit" in dialog
    assert "<strong>crm</strong> · Forced open: &lt;b&gt;maintenance" in dialog
    assert "csrfmiddlewaretoken" in dialog
    assert state(harness) is State.FORCED_OPEN
    response = root.post(reset_page(crm), {"_form_submitted": "on"})
    assert (response.status_code, response["Location"]) == (302, CIRCUITS)
    assert state(harness) is State.CLOSED
    row = Operation.objects.latest("pk")
    assert (row.actor, row.action, row.service) == ("staff:root", "circuit.reset", "crm")
    assert row.before == {"state": "FORCED_OPEN", "reason": "<b>maintenance"}
    assert row.after == {"state": "CLOSED"}
    assert "The circuit of crm is closed." in root.get(CIRCUITS).content.decode()


def test_the_confirmation_dialog_redirects_to_the_list(root: Client, crm: Service) -> None:
    response = root.post(reset_page(crm), {"_form_submitted": "on"}, headers={"HX-Request": "true"})
    assert (response.status_code, response["HX-Redirect"]) == (200, CIRCUITS)


def test_a_circuits_reset_requires_the_permission_and_is_hidden_without_it(harness: Harness, crm: Service) -> None:
    services.override_circuit("staff:ada", "crm", State.DISABLED)
    client = client_with("view_gateway")
    assert reset_page(crm) not in client.get(CIRCUITS).content.decode()
    client.handler.enforce_csrf_checks = False
    for send in (client.get, client.post):
        assert send(reset_page(crm), {"_form_submitted": "on"}).status_code == 403
    assert state(harness) is State.DISABLED
    assert recorded_operations() == [("staff:ada", "circuit.disable", "crm")]


def test_a_circuits_reset_requires_the_csrf_token(harness: Harness, crm: Service) -> None:
    services.override_circuit("staff:ada", "crm", State.DISABLED)
    client = client_with("view_gateway", "operate_gateway")
    document = {"_form_submitted": "on"}
    assert client.post(reset_page(crm), document).status_code == 403
    assert state(harness) is State.DISABLED
    client.get(reset_page(crm))
    document["csrfmiddlewaretoken"] = client.cookies["csrftoken"].value
    assert client.post(reset_page(crm), document).status_code == 302
    assert state(harness) is State.CLOSED


def test_resetting_a_circuit_that_does_not_exist_shows_an_error(root: Client, crm: Service) -> None:
    new = Service.objects.create(name="brandnew")
    page = root.post(reset_page(new), {"_form_submitted": "on"}, follow=True).content.decode()
    assert "brandnew is not in the configuration in use yet." in page
    for send in (root.get, root.post):
        assert send(f"{CIRCUITS}999/reset/", {"_form_submitted": "on"}).status_code == 404
    assert recorded_operations() == []


def test_an_override_skips_services_that_are_not_in_use_yet(harness: Harness, root: Client, crm: Service) -> None:
    new = Service.objects.create(name="brandnew")
    page = act(root, CIRCUITS, "disable", new, crm, reason="a test")
    assert "brandnew is not in the configuration in use yet." in page
    assert state(harness) is State.DISABLED


def test_a_row_links_to_the_services_page(root: Client, crm: Service) -> None:
    response = root.get(f"{CIRCUITS}{crm.pk}/change/")
    assert (response.status_code, response["Location"]) == (302, "/dashboard/services/crm/")


def test_the_cache_is_listed_and_a_tag_is_invalidated(harness: Harness, root: Client, crm: Service) -> None:
    harness.request("/api/v1/crm/contacts/7")
    assert "0.00 %" in root.get(CACHE).content.decode()
    assert "Enter the tag to invalidate" in act(root, CACHE, "invalidate", crm)
    assert "1 entry invalidated." in act(root, CACHE, "invalidate", crm, tag="contacts")
    assert Operation.objects.get(action="cache.invalidate").after == {"tag": "contacts", "keysDeleted": 1}
    harness.request("/api/v1/crm/contacts/7")
    question = act(root, CACHE, "flush", crm)
    assert "All cached responses of this service will be deleted." in question
    assert "1 entry" in question
    assert Operation.objects.filter(action="cache.invalidate").count() == 1
    assert "1 entry invalidated." in act(root, CACHE, "flush", crm, confirmed="yes")


def test_staff_without_permission_may_view_but_not_act(harness: Harness, crm: Service) -> None:
    eve = User.objects.create_user("eve", is_staff=True)
    eve.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(eve)
    assert client.get(CIRCUITS).status_code == 200
    act(client, CIRCUITS, "force_open", crm, reason="a test")
    act(client, CACHE, "flush", crm, confirmed="yes")
    assert state(harness) is State.CLOSED
    assert recorded_operations() == []


def test_the_audit_log_is_read_only(root: Client) -> None:
    row = record_operation("staff:ada", "circuit.reset", "crm", before={"state": "OPEN"}, after={"state": "<b>"})
    assert "circuit.reset" in root.get(AUDIT_LOG).content.decode()
    page = root.get(f"{AUDIT_LOG}{row.pk}/change/").content.decode()
    assert "state: OPEN" in page
    assert "state: &lt;b&gt;" in page
    assert root.post(f"{AUDIT_LOG}{row.pk}/change/", {"actor": "nobody"}).status_code == 403
    assert root.post(f"{AUDIT_LOG}add/").status_code == 403
    assert root.post(f"{AUDIT_LOG}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def revision(ttl: int) -> ConfigurationRevision:
    """Change the configuration and record a revision."""
    from routing.database import revisions

    document = {"targets": [{"url": "http://a"}], "cache": {"ttl": ttl}}
    apply_document({"version": 1, "services": {"crm": document}})
    with acting_as("staff:ada"):
        revision = revisions.record_revision()
    assert revision is not None
    return revision


def test_the_history_shows_who_changed_which_lines(root: Client) -> None:
    revision(1)
    second = revision(2)
    assert "staff:ada" in root.get(HISTORY).content.decode()
    page = root.get(f"{HISTORY}{second.pk}/change/").content.decode()
    assert "-    cache: {ttl: 1}" in page
    assert "+    cache: {ttl: 2}" in page


def test_a_rollback_shows_its_changes_before_it_is_performed(root: Client) -> None:
    first = revision(1)
    revision(2)
    back = f"{HISTORY}{first.pk}/rollback/"
    page = root.get(back).content.decode()
    assert "+    cache: {ttl: 1}" in page
    assert raw_document()["services"]["crm"]["cache"] == {"ttl": 2}
    assert root.post(back).status_code == 302
    assert raw_document()["services"]["crm"]["cache"] == {"ttl": 1}
    row = Operation.objects.get(action="configuration.rollback")
    assert (row.actor, row.after) == ("staff:root", {"revision": first.pk, "services": ["crm"]})


def test_a_rollback_requires_permission_to_change_services(harness: Harness) -> None:
    first = revision(1)
    client = Client()
    client.force_login(User.objects.create_user("eve", is_staff=True))
    for send in (client.get, client.post):
        assert send(f"{HISTORY}{first.pk}/rollback/").status_code == 403
    assert client.get(f"{HISTORY}{first.pk}/change/").status_code == 403


def test_a_rollback_requires_the_csrf_token(harness: Harness) -> None:
    first = revision(1)
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("root", password="for tests alone"))
    assert client.post(f"{HISTORY}{first.pk}/rollback/").status_code == 403


def test_a_services_page_links_to_the_explanation_of_its_first_route(root: Client, crm: Service) -> None:
    crm.routes.create(path="/contacts/{id}", methods=["PUT"])
    response = root.get(f"/admin/routing/service/{crm.pk}/try/")
    assert response["Location"] == "/admin/explain/?method=PUT&path=%2Fapi%2Fv1%2Fcrm%2Fcontacts%2F%7Bid%7D"


@pytest.mark.parametrize("url", [CIRCUITS, CACHE, HISTORY, AUDIT_LOG, "/admin/", "/admin/auth/user/"])
def test_every_page_opens_without_rows(root: Client, url: str) -> None:
    assert root.get(url).status_code == 200


def test_circuits_are_proxies_of_services(crm: Service) -> None:
    assert Circuit.objects.get().pk == crm.pk
