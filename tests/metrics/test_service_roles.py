"""Roles for services: whom they are given to, for which services, and what they do not allow."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from metrics import selectors
from metrics.models import AlertSilence, Operation
from metrics.sign_in import accounts
from metrics.sign_in.policy import Provider, Role
from routing.database.config_file import stored_document
from routing.messages.staff_origin import StaffOrigin
from routing.models import ApiKey, ConfigurationRevision, FailedDelivery, Route, Service, ServiceRole, Target, Watch
from routing.rights import Grant, Right, granted, may
from routing.rights import services as services_of
from routing.router.table import RouteTable
from routing.views import scopes_for
from tests.metrics.harness import Harness
from tests.metrics.service_rights import FOREIGN, OWN, foreign_state, limited, member, set_up

pytestmark = pytest.mark.django_db
KNOWN = {OWN: {"team": "sales", "stage": "production"}, FOREIGN: {"team": "finance"}, "bare": {}}
JSON = "application/json"


@pytest.fixture
def world(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setattr("metrics.usage.selectors.collect", lambda: None)
    set_up(harness)
    return harness


def grant(role: str, *names: str, **labels: str) -> Grant:
    return Grant(role, frozenset(names), labels)


@pytest.mark.parametrize(
    ("grants", "right", "names"),
    [
        ([], Right.VIEW, set()),
        ([grant("Viewer", OWN)], Right.VIEW, {OWN}),
        ([grant("Viewer", OWN)], Right.OPERATE, set()),
        ([grant("Operator", OWN)], Right.VIEW, {OWN}),
        ([grant("Owner", OWN), grant("Viewer", "bare")], Right.VIEW, {OWN, "bare"}),
        ([grant("Owner", OWN), grant("Viewer", "bare")], Right.CONFIGURE, {OWN}),
        ([grant("Viewer", "later")], Right.VIEW, {"later"}),
        ([grant("Viewer", team="sales")], Right.VIEW, {OWN}),
        ([grant("Viewer", team="sales", stage="test")], Right.VIEW, set()),
        ([grant("Viewer")], Right.VIEW, set()),
        ([grant("viewer", OWN), grant("Root", OWN)], Right.VIEW, set()),
    ],
)
def test_a_right_covers_the_services_of_every_role_that_includes_it(
    grants: list[Grant], right: Right, names: set[str]
) -> None:
    assert granted(grants, right, KNOWN) == names


@pytest.mark.parametrize("by_group", [True, False])
def test_a_role_is_of_a_user_or_of_a_group_and_by_name_or_label(world: Harness, by_group: bool) -> None:
    client = member(("Viewer", [], {"team": OWN}), ("Viewer", ["nothing"], {}), by_group=by_group)
    assert list(client.get("/metrics/circuit-breakers").json()["stats"]) == [OWN]
    Service.objects.filter(name=FOREIGN).update(labels={"team": OWN})
    assert list(client.get("/metrics/circuit-breakers").json()["stats"]) == [OWN, FOREIGN]
    User.objects.update(is_staff=False)
    assert client.get("/metrics/circuit-breakers").status_code == 403


def test_roles_for_services_cost_nothing_where_nobody_is_limited(world: Harness, owner: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert owner.get("/metrics").status_code == 200
        assert owner.get("/dashboard/requests/").status_code == 200
    assert not [query for query in queries.captured_queries if "servicerole" in query["sql"]]


def test_a_limited_person_without_any_role_is_refused(world: Harness) -> None:
    client = member()
    paths = ("/dashboard/", "/metrics", "/metrics/usage", "/api/config", "/admin/routing/service/", "/admin/explain/")
    assert {client.get(path).status_code for path in paths} == {403}


OPERATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("post", f"/metrics/circuit-breakers/{OWN}/reset", {}),
    ("delete", f"/metrics/cache/{OWN}", {}),
    ("post", "/metrics/cache/warm", {"dry_run": True}),
    ("post", "/metrics/deployments", {"service": OWN, "version": "1"}),
    ("post", "/metrics/alerts/silences", {"service": OWN, "seconds": 60, "reason": "r"}),
)


@pytest.mark.parametrize("role", ["Viewer", "Operator", "Owner"])
def test_a_role_allows_for_its_service_what_the_group_allows_for_all(world: Harness, role: str) -> None:
    client = limited(role)
    for method, path, body in OPERATIONS:
        status = getattr(client, method)(path, body, content_type=JSON).status_code
        assert (status == 403) is (role == "Viewer"), (path, status)
    patched = client.patch(f"/api/config/services/{OWN}", {"rate_limit": "9/s"}, content_type=JSON)
    assert patched.status_code == (200 if role == "Owner" else 403), patched.content
    page = client.get(f"/dashboard/services/{OWN}/").content.decode()
    assert ('<div class="actions" hidden>' in page) is (role == "Viewer")
    deliveries = client.get("/admin/routing/faileddelivery/")
    assert deliveries.status_code == (403 if role == "Viewer" else 200)
    whole = client.get("/dashboard/").content.decode()
    assert '<div class="actions" hidden>' in whole


EVERYTHING: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("delete", "/metrics/cache", {}),
    ("post", "/metrics/cache/reset", {}),
    ("post", "/metrics/circuit-breakers/reset", {}),
    ("post", "/metrics/alerts/test", {}),
    ("post", "/metrics/alerts/silences", {"seconds": 60, "reason": "r"}),
    ("post", "/metrics/deployments", {"version": "1"}),
    ("post", "/metrics/replay", {"version": 1, "services": {}}),
    ("post", "/metrics/consumers/acme/quotas/reset", {"quota": "q"}),
    ("post", "/api/revocations", {"subject": "s"}),
    ("post", "/api/keys/verify", {"key": "gw_x"}),
    ("post", "/api/keys/aaaaaaaa/rotate", {}),
    ("post", "/api/config/history/1/restore", {"latest": 1, "reason": "r"}),
    ("delete", f"/api/config/services/{OWN}", {}),
    ("get", "/dashboard/replay/", {}),
    ("get", "/admin/routing/apikey/", {}),
    ("get", "/admin/routing/plan/", {}),
    ("get", "/admin/routing/alertrule/", {}),
    ("get", "/admin/routing/servicerole/", {}),
    ("get", "/admin/routing/service/add/", {}),
    ("get", "/admin/auth/user/", {}),
)


def test_what_touches_everything_needs_the_right_for_the_whole_gateway(world: Harness) -> None:
    client = limited("Owner")
    for method, path, body in EVERYTHING:
        more: dict[str, Any] = {} if method == "get" else {"data": body, "content_type": JSON}
        assert getattr(client, method)(path, **more).status_code == 403, path
    assert client.get("/metrics", headers={"Accept": "text/plain;version=0.0.4"}).status_code == 403


ZEBRA_SECRET = "env:GATEWAY_SECRET_ZEBRA"
OAUTH = {"grant": "client_credentials", "token_url": "https://x.example/t", "client_id": "c"}
REFUSED: tuple[dict[str, Any], ...] = (
    {"credential": {"oauth2": {**OAUTH, "client_secret": ZEBRA_SECRET}}},
    {"headers": {"Authorization": ZEBRA_SECRET}},
    {"fallback": {"service": FOREIGN}},
    {"fallback": {"service": "no-such-service"}},
    {"routes": [{"path": "/a", "fallback": {"service": FOREIGN}}]},
    {"identity": {"audience": f"{FOREIGN}-backend"}},
    {"routes": [{"path": "/a", "identity": {"fields": ["tenant"], "audience": f"{FOREIGN}-backend"}}]},
)


def test_an_owner_of_a_service_borrows_nothing_from_others(world: Harness) -> None:
    """Neither secrets, which would be sent to a backend of the owner's, nor responses, nor tokens for a backend."""
    Service.objects.filter(name=FOREIGN).update(identity={"audience": f"{FOREIGN}-backend"})
    client, before = limited("Owner"), stored_document()
    for body in REFUSED:
        response = client.patch(f"/api/config/services/{OWN}", body, content_type=JSON)
        assert response.status_code == 403, response.content
    assert stored_document() == before


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        (["gw.example.com"], "gw.example.com", 403),
        (["gw.example.com"], "GW.example.com", 403),
        ([".example.com"], "any.example.com", 403),
        (["*"], "crm.example.org", 403),
        (["gw.example.com"], "staff.example.org", 403),
        (["gw.example.com"], "crm.example.com", 200),
    ],
)
def test_an_owner_of_a_service_takes_over_no_host_of_the_gateway(
    world: Harness, allowed: list[str], host: str, status: int
) -> None:
    """There they would receive what others send to the gateway, and could show a login of their own."""
    client, config = limited("Owner"), msgspec.structs.replace(settings.CONFIG, staff=StaffOrigin("staff.example.org"))
    with override_settings(ALLOWED_HOSTS=[*allowed, "testserver", "staff.example.org"], CONFIG=config):
        path, fields = f"/api/config/services/{OWN}", {"Host": "staff.example.org"}
        response = client.patch(path, {"hosts": [host]}, content_type=JSON, headers=fields)
        assert response.status_code == status, response.content
        if status == 200:  # what the service has already, it keeps
            with override_settings(ALLOWED_HOSTS=[host, "staff.example.org"]):
                again = client.patch(path, {"rate_limit": "12/s"}, content_type=JSON, headers=fields)
                assert again.status_code == 200


@pytest.mark.parametrize("stored", ["taken.example.org", "taken.example.org.", "TAKEN.example.org"])
@pytest.mark.parametrize("host", ["taken.example.org", "taken.example.org.", "Taken.example.org"])
def test_an_owner_of_a_service_takes_over_no_host_of_another(world: Harness, stored: str, host: str) -> None:
    Service.objects.filter(name=FOREIGN).update(hosts=[stored])
    client, before = limited("Owner"), stored_document()
    with override_settings(ALLOWED_HOSTS=["testserver"]):
        response = client.patch(f"/api/config/services/{OWN}", {"hosts": [host]}, content_type=JSON)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert stored_document() == before
    row = Service.objects.get(name=OWN)
    row.hosts = [host]
    with pytest.raises(ValidationError, match="already a host of another service"):
        row.full_clean()


def test_an_owner_of_services_neither_adds_nor_deletes_one(world: Harness) -> None:
    """Also not one of a name that they have a role for."""
    client, before = member(("Owner", [OWN, "unborn"], {})), stored_document()
    item = {"targets": [{"url": "http://x"}]}
    created = client.put("/api/config/services/unborn", item, content_type=JSON, headers={"If-Match": "*"})
    assert created.status_code in (403, 412)
    assert client.patch("/api/config/services/unborn", item, content_type=JSON).status_code in (403, 404)
    tag = client.get("/api/config")["ETag"]
    for services, query in (({"unborn": item, OWN: item}, ""), ({}, "?prune=1"), ({FOREIGN: item}, "")):
        body = {"version": 1, "services": services}
        response = client.put(f"/api/config{query}", body, content_type=JSON, headers={"If-Match": tag})
        assert response.status_code in (403, 409), response.content
    assert stored_document() == before


def form(client: Client, page: str, /, **changed: str) -> dict[str, Any]:
    """What a form would post, with changes."""
    shown = client.get(page)
    admin_form = shown.context["adminform"].form
    data = {name: field.value() for name, field in ((each.name, each) for each in admin_form)}
    inlines = [each.formset for each in shown.context["inline_admin_formsets"]]
    for formset in inlines:
        management = {f"{formset.prefix}-{name}": value for name, value in formset.management_form.initial.items()}
        rows = {f"{row.prefix}-{field.name}": row[field.name].value() for row in formset for field in row}
        data |= management | rows
    return {name: "" if value is None else value for name, value in data.items()} | changed


def test_the_admins_form_has_the_same_bounds(world: Harness) -> None:
    client, row, before = limited("Owner"), Service.objects.get(name=OWN), stored_document()
    path = reverse("admin:routing_service_change", args=[row.pk])
    fallbacks = [f"fallback: {{service: {name}}}" for name in (FOREIGN, "no-such-service")]
    for yaml in (*fallbacks, f"headers: {{Authorization: '{ZEBRA_SECRET}'}}", f"tls: {{ca: '{ZEBRA_SECRET}'}}"):
        page = client.post(path, form(client, path, syntax="yaml", yaml_text=yaml)).content.decode()
        assert "there is no service" not in page
        assert "you may not let it fall back" in page or "another secret" in page
    target = {"targets-0-url": "https://x.example", "targets-0-tls": f"{{ca: '{ZEBRA_SECRET}'}}"}
    assert "another secret" in client.post(path, form(client, path, **target)).content.decode()
    assert stored_document() == before


def test_the_admins_form_changes_the_own_service_but_not_its_name(world: Harness) -> None:
    client, row, before = limited("Owner"), Service.objects.get(name=OWN), foreign_state(world)
    path = reverse("admin:routing_service_change", args=[row.pk])
    response = client.post(path, form(client, path, syntax="yaml", yaml_text="rate_limit: 11/s", name="renamed"))
    assert response.status_code == 302, response.context["errors"]
    row.refresh_from_db()
    assert (row.name, row.rate_limit) == (OWN, "11/s")
    assert foreign_state(world) == before


def test_a_route_and_a_target_stay_with_the_own_service(world: Harness) -> None:
    client, before = limited("Owner"), foreign_state(world)
    foreign = Service.objects.get(name=FOREIGN)
    add = reverse("admin:routing_route_add")
    assert client.post(add, form(client, add, service=str(foreign.pk), path="/evil")).status_code == 200
    target = Target.objects.get(service__name=OWN)
    page = reverse("admin:routing_target_change", args=[target.pk])
    client.post(page, form(client, page, service=str(foreign.pk)))
    assert foreign_state(world) == before
    assert (
        client.post(add, form(client, add, service=str(Service.objects.get(name=OWN).pk), path="/mine")).status_code
        == 302
    )
    assert Route.objects.filter(path="/mine", service__name=OWN).exists()


def test_a_draft_that_names_a_service_revokes_no_key(world: Harness) -> None:
    client = limited("Owner")
    for query in (
        f"change=revoke&service={OWN}&key=aaaaaaaa",
        f"change=quota&service={OWN}&plan=zebraplan&per=day&value=1",
    ):
        for response in (
            client.get(f"/dashboard/advice/draft/?{query}"),
            client.post(f"/dashboard/advice/draft/?{query}"),
        ):
            assert response.status_code == 403
    assert ApiKey.objects.get().revoked_at is None


def test_a_change_of_the_own_service_is_undone_and_one_of_another_is_not_found(world: Harness) -> None:
    client = limited("Owner")
    own, foreign = (ConfigurationRevision.objects.get(service=name) for name in (OWN, FOREIGN))
    page = client.get(reverse("admin:undo_revision", args=[own.pk])).content.decode()
    assert "7/s" in page
    assert client.post(reverse("admin:undo_revision", args=[foreign.pk])).status_code == 404
    assert client.post(reverse("admin:roll_back", args=[own.pk])).status_code == 403
    client.post(reverse("admin:undo_revision", args=[own.pk]))
    assert [Service.objects.get(name=name).rate_limit for name in (OWN, FOREIGN)] == ["", "7/s"]


def test_an_action_acts_on_the_selected_rows_of_own_services(world: Harness) -> None:
    client = limited("Operator")
    for path, action, model in (
        ("/admin/routing/watch/", "renew", Watch),
        ("/admin/routing/faileddelivery/", "dismiss", FailedDelivery),
    ):
        keys = list(model.objects.values_list("pk", flat=True))
        client.post(path, {"action": action, "_selected_action": keys})
    assert [each.webhook for each in FailedDelivery.objects.all()] == [f"{FOREIGN}hook"]
    assert set(Watch.objects.exclude(due_at=None).values_list("service", flat=True)) == {OWN}
    own = AlertSilence.objects.get(service=OWN)
    assert client.delete(f"/metrics/alerts/silences/{own.pk}").status_code == 200


def test_the_scopes_of_a_limited_person_open_no_other_service(world: Harness) -> None:
    """Not even if a service requires a scope that has another's name."""
    found = []
    for name, scopes in ((OWN, (FOREIGN, "reports", "metrics:read", "*")), (FOREIGN, ("books",))):
        service = selectors.get_service(name)
        found.append(msgspec.structs.replace(service, policy=msgspec.structs.replace(service.policy, scopes=scopes)))
    world.live.table = RouteTable(found)
    assert scopes_for(frozenset({OWN})) == {OWN, "reports"}
    assert {"*", FOREIGN, "books"} <= scopes_for(None)


def test_a_role_is_given_by_superusers_alone_and_is_on_record(harness: Harness, owner: Client) -> None:
    eve, root = User.objects.create_user("eve", is_staff=True), Client()
    root.force_login(User.objects.create_superuser("root"))
    data = {"user": eve.pk, "group": "", "role": "Operator", "services": f"[{OWN}]", "labels": "{team: sales}"}
    path = "/admin/routing/servicerole/add/"
    assert owner.post(path, data).status_code == 403
    assert root.post(path, data | {"group": Group.objects.get(name="Viewer").pk}).status_code == 200
    assert root.post(path, data | {"services": "", "labels": ""}).status_code == 200
    assert not ServiceRole.objects.exists()
    assert root.post(path, data).status_code == 302
    role = ServiceRole.objects.get()
    assert (role.user, role.services, role.labels) == (eve, [OWN], {"team": "sales"})
    assert may(User.objects.get(pk=eve.pk), Right.OPERATE, OWN)
    recorded = Operation.objects.get(action="account.service_role_given")
    assert recorded.after is not None
    assert (recorded.actor, recorded.after["holder"]) == ("staff:root", "eve")
    root.post(f"/admin/routing/servicerole/{role.pk}/delete/", {"post": "yes"})
    assert Operation.objects.filter(action="account.service_role_taken").exists()


@pytest.mark.parametrize(
    "fields",
    [{"services": ["no name"]}, {"services": "crm"}, {"labels": {"Team": "x"}}, {"labels": ["x"]}, {"services": [1]}],
)
def test_a_role_for_what_cannot_be_a_service_is_refused(fields: dict[str, Any]) -> None:
    eve = User.objects.create_user("eve")
    with pytest.raises(ValidationError):
        ServiceRole(user=eve, role="Viewer", **fields).full_clean()


def test_a_providers_group_gives_the_roles_of_a_group_here_until_it_is_left() -> None:
    provider = Provider(
        issuer="i", client_id="c", roles=(("all", Role.VIEWER),), teams=(("crm-devs", "CRM"), ("x", "None"))
    )
    assert provider.teams_of(["crm-devs", "x", "others"]) == {"CRM", "None"}
    team, plain = Group.objects.create(name="CRM"), Group.objects.create(name="Choir")
    eve = User.objects.create_user("eve")
    eve.groups.add(plain)
    assert accounts.existing_teams(frozenset({"CRM", "None", "Owner"})) == frozenset()
    ServiceRole.objects.create(group=team, role="Operator", services=[OWN])
    assert accounts.existing_teams(frozenset({"CRM", "None", "Owner"})) == {"CRM"}
    accounts.set_role(eve, None, frozenset({"CRM"}))
    assert services_of(User.objects.get(pk=eve.pk), Right.OPERATE) == frozenset({OWN})
    accounts.set_role(eve, None)
    left = User.objects.get(pk=eve.pk)
    assert (left.is_staff, [group.name for group in left.groups.all()]) == (False, ["Choir"])
    assert services_of(left, Right.VIEW) == frozenset()
