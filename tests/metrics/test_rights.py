"""One rule for staff on every entry point: Viewer, Operator and Owner, and nobody else."""

import html
import importlib
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from routing.models import Service, Target
from routing.rights import Right, may
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

GROUPS = (None, "Viewer", "Operator", "Owner")
VIEWED = (
    "/dashboard/",
    "/dashboard/alerts/",
    "/dashboard/events/",
    "/dashboard/snapshot.json",
    "/dashboard/history.json",
    "/dashboard/services/crm/",
    "/dashboard/services/crm/detail.json",
    "/dashboard/services/crm/incident.json",
    "/metrics",
    "/metrics/alerts",
    "/metrics/cache",
    "/metrics/circuit-breakers",
    "/metrics/credentials",
    "/metrics/history",
    "/admin/explain/",
    "/admin/routing/service/",
    "/admin/routing/route/",
    "/admin/routing/target/",
    "/admin/routing/alertrule/",
    "/admin/metrics/alertmessage/",
    "/admin/routing/apikey/",
    "/admin/routing/configurationproposal/",
    "/admin/routing/configurationrevision/",
    "/admin/metrics/operation/",
    "/admin/metrics/circuit/",
    "/admin/routing/backendcredential/",
    "/admin/metrics/cachedservice/",
)
OPERATED = (
    ("delete", "/metrics/cache"),
    ("delete", "/metrics/cache/crm"),
    ("post", "/metrics/cache/reset"),
    ("post", "/metrics/cache/warm"),
    ("post", "/metrics/alerts/test"),
    ("post", "/metrics/circuit-breakers/reset"),
    ("post", "/metrics/circuit-breakers/crm/reset"),
    ("post", "/metrics/circuit-breakers/crm/probe"),
)
MAX_PAGES = 80
CONFIGURED = (
    *("/admin/routing/alertrule/add/", "/admin/routing/service/add/", "/admin/routing/route/add/"),
    "/admin/routing/apikey/add/",
)


@pytest.fixture
def crm(harness: Harness, db: None) -> Service:
    harness.serve(ok())
    service = Service.objects.create(name="crm")
    Target.objects.create(service=service, url="http://a")
    return service


def client_of(group: str | None) -> Client:
    user = User.objects.create_user("eve", is_staff=True)
    if group is not None:
        user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.parametrize("group", GROUPS)
def test_each_group_may_do_what_it_is_for_and_no_more(crm: Service, group: str | None) -> None:
    client, rank = client_of(group), GROUPS.index(group)
    viewed = {path: client.get(path).status_code for path in VIEWED}
    assert viewed == dict.fromkeys(VIEWED, 200 if rank >= 1 else 403)
    explained = client.post("/api/explain", {"path": "/api/v1/crm/x"}, content_type="application/json")
    assert explained.status_code == (200 if rank >= 1 else 403)
    for method, path in OPERATED:
        status = getattr(client, method)(path, content_type="application/json").status_code
        assert (status == 403) is (rank < 2), (path, status)
    for path in CONFIGURED:
        assert client.get(path).status_code == (200 if rank >= 3 else 403), path


@pytest.mark.parametrize("group", GROUPS[1:])
def test_controls_are_shown_to_those_who_may_use_them(crm: Service, group: str) -> None:
    client = client_of(group)
    for path in ("/dashboard/", "/dashboard/services/crm/"):
        page = client.get(path).content.decode()
        assert ('<div class="actions" hidden>' in page) is (group == "Viewer")
        assert bool(re.search("<body[^>]* data-operate", page)) is (group != "Viewer")
        assert ("data-configure" in page) is (group == "Owner")


def test_staff_without_a_right_are_told_whom_to_ask(crm: Service) -> None:
    page = client_of(None).get("/dashboard/").content.decode()
    assert "A superuser can add you to the group Viewer." in page
    assert "crm" not in page


def links(page: str) -> set[str]:
    return {html.unescape(link) for link in re.findall(r'<a\b[^>]*\shref="(/[^"#]*)', page)}


@pytest.mark.parametrize("group", GROUPS)
def test_no_link_of_a_page_is_refused_to_who_sees_it(crm: Service, group: str | None) -> None:
    client, seen, found = client_of(group), set[str](), {"/admin/"}
    while new := {path for path in found - seen if not path.startswith(("/static/", "/metrics/"))}:
        for path in sorted(new):
            response = client.get(path)
            assert response.status_code != 403, path
            if "text/html" in response.headers.get("Content-Type", "") and len(seen) < MAX_PAGES:
                found |= links(response.content.decode())
        seen |= new
    lists = {"/admin/routing/service/", "/admin/metrics/circuit/", "/admin/explain/", "/dashboard/"}
    assert lists <= seen or group is None
    assert "/admin/auth/user/" not in seen


def test_a_superuser_sees_all_of_the_sidebar(harness: Harness, db: None) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert {"/admin/auth/user/", "/admin/auth/group/", "/dashboard/"} <= links(client.get("/admin/").content.decode())


@pytest.mark.django_db
@pytest.mark.parametrize(("is_staff", "is_active"), [(False, True), (True, False)])
def test_a_right_needs_an_active_member_of_staff(is_staff: bool, is_active: bool) -> None:
    user = User.objects.create(username="eve", is_staff=is_staff, is_active=is_active)
    user.groups.add(Group.objects.get(name="Owner"))
    assert not any(may(User.objects.get(pk=user.pk), right) for right in Right)


@pytest.mark.django_db
def test_the_migration_keeps_what_staff_could_see_and_what_their_permissions_allowed() -> None:
    migration: Any = importlib.import_module("routing.migrations.0010_rights")
    held = {
        "plain": [],
        "operates": ["change_circuit"],
        "edits": ["change_service"],
        "owns": sorted(migration.CONFIGURED),
    }
    for name, codenames in held.items():
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    migration.create_groups(apps, None)
    groups = {user.username: [group.name for group in user.groups.all()] for user in User.objects.all()}
    assert groups == {"plain": ["Viewer"], "operates": ["Operator"], "edits": ["Viewer"], "owns": ["Owner"]}
