"""Another team's Django project that includes the gateway, and stays its own."""

import asyncio
import json

import requests
from websockets.asyncio.client import connect

from tests.package.project import EMAIL, Project


def test_services_are_served_and_cached(project: Project) -> None:
    credential = {"X-API-Key": project.key}
    first, second = (project.get("/api/v1/crm/contacts", **credential) for _ in range(2))
    assert (first.status_code, first.headers["X-Cache"]) == (200, "MISS")
    assert second.headers["X-Cache"] == "HIT"
    assert second.json()["path"] == "/backend/contacts"
    assert project.get("/api/v1/crm/contacts").status_code == 401
    assert project.get("/api/v1/crm/contacts", Host="evil.test", **credential).status_code == 421


def test_backends_do_not_receive_the_projects_session(project: Project) -> None:
    cookies = {**project.staff.cookies.get_dict(), "theme": "dark"}
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    seen = project.get("/api/v1/crm/cookies", Cookie=cookie, **{"X-API-Key": project.key}).json()
    assert "sessionid" in cookies
    assert seen["cookies"] == ["theme"]


def test_the_projects_own_paths_stay_its_own(project: Project) -> None:
    for path in ("/", "/events", "/api/v1/orders/"):
        found = project.get(path)
        assert (found.text, found.headers["X-Project"]) == ("the shop's page", "shop"), path
    assert project.get("/api/v1/unknown/").headers["X-Project"] == "shop"
    assert project.get("/dashboard/").status_code == 404


def test_the_projects_admin_stays_its_own(project: Project) -> None:
    registered = "from django.contrib import admin; print([m._meta.app_label for m in admin.site._registry])"
    assert project.manage("shell", "--no-imports", "-c", registered).split("\n")[0] == "['auth']"
    page = project.staff.get(f"{project.address}/admin/", timeout=30)
    assert "The shop" in page.text
    assert "unfold" not in page.text


def test_pages_are_the_gateways_although_the_project_has_templates_of_these_names(project: Project) -> None:
    anonymous = project.get("/gateway/dashboard/")
    assert anonymous.headers["Location"] == "/admin/login/?next=/gateway/dashboard/"
    dashboard = project.staff.get(f"{project.address}/gateway/", timeout=30)
    assert 'data-dashboard="/gateway/dashboard/"' in dashboard.text
    assert 'href="/gateway/admin/"' in dashboard.text
    assert "/assets/dashboard/page.js" in dashboard.text or "/assets/dashboard/overview.js" in dashboard.text
    assert "script-src 'self'" in dashboard.headers["Content-Security-Policy"]


def test_the_gateways_admin_is_a_site_of_its_own(project: Project) -> None:
    login = project.get("/gateway/admin/login/?next=/gateway/admin/routing/service/")
    assert login.headers["Location"] == "/admin/login/?next=/gateway/admin/routing/service/"
    for page in ("", "routing/service/", "routing/service/add/", "routing/apikey/add/", "metrics/circuit/", "explain/"):
        shown = project.staff.get(f"{project.address}/gateway/admin/{page}", timeout=30)
        assert shown.status_code == 200, page
        assert "/gateway/admin/routing/service/" in shown.text, page
        assert "The shop" not in shown.text, page
        assert 'href="/admin/' not in shown.text, page
    assert project.staff.get(f"{project.address}/gateway/admin/auth/user/", timeout=30).status_code == 404


def test_the_api_has_the_gateways_rules_and_records_who_changed_what(project: Project) -> None:
    """Although the project's REST framework allows anybody."""
    metrics = f"{project.address}/gateway/metrics"
    assert requests.get(metrics, timeout=30).status_code == 401
    assert project.staff.get(metrics, timeout=30).json()["services"]
    reset = f"{metrics}/circuit-breakers/crm/reset"
    assert project.staff.post(reset, json={}, timeout=30).status_code == 403  # without the CSRF token
    token = {"X-CSRFToken": project.staff.cookies["csrftoken"], "Referer": project.address}
    assert project.staff.post(reset, json={}, headers=token, timeout=30).status_code == 200
    log = project.staff.get(f"{project.address}/gateway/admin/metrics/operation/", timeout=30).text
    assert f"staff:{EMAIL}" in log


def test_the_dashboard_is_live(project: Project) -> None:
    async def first_message() -> dict[str, object]:
        headers = {"Cookie": f"sessionid={project.staff.cookies['sessionid']}", "Origin": project.address}
        address = f"ws://127.0.0.1:{project.port}/ws/dashboard/"
        async with connect(address, additional_headers=headers) as socket:
            return dict(json.loads(await asyncio.wait_for(socket.recv(), 30)))

    assert "crm" in json.dumps(asyncio.run(first_message()))


def test_health_is_at_the_included_path(project: Project) -> None:
    assert project.get("/gateway/health/ready").json() == {"status": "ok"}
    assert project.get("/gateway/health/deep").status_code == 200
    assert project.get("/gateway/health/other").status_code == 404
    assert project.get("/health").status_code == 404


def test_django_finds_nothing_to_do(project: Project) -> None:
    assert "no issues" in project.manage("check")
    assert "No changes detected" in project.manage("makemigrations", "--check", "--dry-run")
    owner = "from django.core.management import get_commands; print(get_commands()['migrate'])"
    assert project.manage("shell", "--no-imports", "-c", owner).strip() == "django.core"
    assert "Traceback" not in project.log
