"""Staff's pages: their Content-Security-Policy, the origin they are served from, and their messages."""

from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client, override_settings

from gateway_project import config
from gateway_project.environment.variables import ConfigurationFault
from routing.messages.staff_origin import StaffOrigin
from routing.pages.cookies import own_cookies
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db
PAGES = ("/admin/", "/admin/login/", "/accounts/login/", "/dashboard/", "/api/docs", "/admin/routing/service/add/")


def staff(host: str | None = None, port: int | None = None) -> Any:
    changed = msgspec.structs.replace(settings.CONFIG, staff=StaffOrigin(host, port))
    return override_settings(CONFIG=changed, ALLOWED_HOSTS=["*"])


def directives(response: Any) -> dict[str, str]:
    pairs = [part.strip().partition(" ") for part in response["Content-Security-Policy"].split(";")]
    return {name: value for name, _, value in pairs}


@pytest.fixture
def ada(harness: Harness) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("ada", password="for tests alone"))
    return client


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_a_policy(ada: Client, path: str) -> None:
    response = ada.get(path)
    policy = directives(response)
    assert response.status_code in (200, 302)
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in policy["script-src"]
    assert ("unsafe-eval" in policy["script-src"]) == path.startswith("/admin/")
    assert response["Referrer-Policy"] == "same-origin"
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", *PAGES])
def test_with_a_host_for_staff_other_hosts_have_no_pages(ada: Client, path: str) -> None:
    with staff(host="staff.test"):
        assert ada.get(path, headers={"Host": "gateway.test"}).status_code == 404
        assert ada.get(path, headers={"Host": "staff.test:8443"}).status_code in (200, 302)


@pytest.mark.parametrize("path", ["/", *PAGES])
def test_with_a_port_for_staff_other_ports_have_no_pages(ada: Client, path: str) -> None:
    with staff(port=9000):
        assert ada.get(path, SERVER_PORT="8000").status_code == 404
        assert ada.get(path, SERVER_PORT="9000").status_code in (200, 302)


def test_programs_use_the_public_host(ada: Client, harness: Harness) -> None:
    with staff(host="staff.test"):
        key = {"X-API-Key": harness.keys["read"]}
        assert ada.get("/metrics", headers={"Host": "gateway.test", **key}).status_code == 200
        assert ada.get("/api/schema", headers={"Host": "gateway.test"}).status_code == 200


def test_a_new_keys_secret_is_in_no_cookie(ada: Client) -> None:
    form = {"name": "billing", "scopes": '["metrics:read"]', "tenant": "", "expires_at_0": "", "expires_at_1": ""}
    response = ada.post("/admin/routing/apikey/add/", form)
    assert response.status_code == 302
    assert set(response.cookies) <= {"sessionid", "csrftoken"}
    assert "gw_" not in response.cookies.output()
    assert "shown only this once" in ada.get("/admin/routing/apikey/").content.decode()


def test_every_cookie_of_django_is_kept_from_backends() -> None:
    expected = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, "messages", "connect"}
    assert own_cookies() >= {name.encode() for name in expected}


@pytest.mark.parametrize("environment", [{"STAFF_HOST": "https://staff.test"}, {"STAFF_PORT": "8000", "PORT": "8000"}])
def test_a_wrong_origin_is_a_fault(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationFault) as error:
        config.read({"SECRET_KEY": "for tests alone, and long enough to sign with", **environment})
    assert [fault.partition(":")[0] for fault in error.value.faults] == [next(iter(environment))]


@pytest.mark.parametrize(
    ("is_staff", "wanted", "leads_to"),
    [
        (True, "", "/admin/"),
        (True, "/dashboard/?range=1h", "/dashboard/?range=1h"),
        (True, "//evil.test/", "/admin/"),
        (True, "https://evil.test/", "/admin/"),
        (False, "/dashboard/", None),
    ],
)
def test_the_login_for_everybody_leads_to_what_they_may_open(
    harness: Harness, is_staff: bool, wanted: str, leads_to: str | None
) -> None:
    User.objects.create_user("grace", password="for tests alone", is_staff=is_staff)
    client, form = Client(), {"username": "grace", "password": "for tests alone", "next": wanted}
    response = client.post("/accounts/login/", form)
    assert response.headers.get("Location") == leads_to
    assert response.status_code == (302 if leads_to else 403)
    again = client.get("/accounts/login/", {"next": wanted})
    assert again.headers.get("Location") == leads_to, "neither a loop nor a second form"
    assert client.post("/accounts/logout/").status_code == 200
    assert client.get("/accounts/login/").status_code == 200
