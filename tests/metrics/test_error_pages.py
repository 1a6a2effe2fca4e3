"""Error pages for browsers."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection
from django.test import Client, override_settings

from gateway_project import asgi
from metrics import throttling
from metrics.dashboard import live
from metrics.portal import access as portal_access
from routing.errors import Overloaded
from tests.metrics.harness import Harness

pytestmark = pytest.mark.django_db

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
ID = "req-7"


def browser(**options: Any) -> Client:
    return Client(headers={"Accept": HTML, "X-Request-ID": ID}, raise_request_exception=False, **options)


def staff(group: str = "Viewer", **options: Any) -> Client:
    client, user = browser(**options), User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client.force_login(user)
    return client


def assert_page(response: Any, status: int, title: str, way: str) -> str:
    text: str = response.content.decode()
    assert (response.status_code, response["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert f"<h1>{title}</h1>" in text
    assert f"Status {status}. Request: <code>{ID}</code>" in text
    assert f'href="{way}"' in text
    assert response["X-Request-ID"] == ID
    assert "script-src 'self'" in response["Content-Security-Policy"]
    assert "<script>" not in text
    return text


def test_an_unknown_page_leads_back(harness: Harness) -> None:
    assert_page(browser().get("/nothing"), 404, "There is no such page", "/")
    assert_page(staff().get("/dashboard/services/nothing/"), 404, "There is no such page", "/dashboard/")


def test_a_missing_right_is_explained(harness: Harness) -> None:
    client = browser()
    client.force_login(User.objects.create_user("eve", is_staff=True))
    text = assert_page(client.get("/dashboard/"), 403, "Not allowed", "/dashboard/")
    assert "A superuser can add you to the group Viewer." in text


@pytest.mark.parametrize("accept", [HTML, "*/*"])
@pytest.mark.parametrize("path", ["/nothing", "/accounts/login/", "/portal/login/", "/admin/login/"])
@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded; charset=UTF-16", "multipart/form-data", "multipart/form-data; boundary=\xff"],
)
def test_a_form_that_cannot_be_read(harness: Harness, path: str, content_type: str, accept: str) -> None:
    """The page for it reads the form again, which fails again."""
    client = Client(headers={"Accept": accept}, raise_request_exception=False)
    response = client.post(path, b"a=1", content_type=content_type)
    assert response.status_code == (404 if path in ("/nothing", "/portal/login/") else 400)
    assert "<h1>" in response.content.decode() or response["Content-Type"] == "text/plain"


def test_a_foreign_host_and_an_old_form(harness: Harness) -> None:
    with override_settings(ALLOWED_HOSTS=["gateway.test"]):
        assert_page(
            browser().get("/admin/login/", headers={"Host": "evil.test"}), 400, "The request cannot be read", "/admin/"
        )
    client = browser(enforce_csrf_checks=True)
    response = client.post("/admin/login/", {"username": "ada"})
    assert "Allow cookies" in assert_page(response, 403, "Not allowed", "/admin/")
    client.get("/admin/login/")
    response = client.post("/admin/login/", {"username": "ada", "csrfmiddlewaretoken": "a" * 64})
    assert "The form is no longer valid" in assert_page(response, 403, "Not allowed", "/admin/")


@pytest.mark.parametrize("path", ["/accounts/login/", "/admin/login/"])
def test_a_login_page_that_was_open_before_a_login_in_another_tab_leads_on(harness: Harness, path: str) -> None:
    client = staff(enforce_csrf_checks=True)
    form = {"username": "ada", "password": "any", "csrfmiddlewaretoken": "a" * 64}
    wanted = "/dashboard/requests/?status=5xx"
    response = client.post(path, {**form, "next": wanted}, follow=True)
    assert (response.status_code, response.request["PATH_INFO"]) == (200, "/dashboard/requests/")
    assert response.request["QUERY_STRING"] == "status=5xx"
    response = client.post(path, {**form, "next": "https://evil.example/"})
    assert client.get(response["Location"])["Location"] == "/admin/"
    assert client.post("/admin/logout/", {"csrfmiddlewaretoken": "a" * 64}).status_code == 403


def test_a_proxy_that_is_not_trusted_is_named_as_the_reason(harness: Harness) -> None:
    """It ends TLS: the browser's page is of https, and the gateway does not know."""
    response = browser(enforce_csrf_checks=True).post("/admin/login/", headers={"Origin": "https://testserver"})
    text = assert_page(response, 403, "Not allowed", "/admin/")
    assert "sent from https://testserver, but the gateway was called as http://testserver" in text
    assert "TRUSTED_PROXIES" in text
    response = browser(enforce_csrf_checks=True).post("/admin/login/", headers={"Origin": "http://<b>x"})
    assert "sent from http://&lt;b&gt;x" in assert_page(response, 403, "Not allowed", "/admin/")


def test_too_many_logins_say_when_to_try_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "exceeds", lambda *_, **__: True)
    response = browser().post("/admin/login/", {"username": "ada"})
    assert_page(response, 429, "Too many requests", "/admin/")
    assert response["Retry-After"] == "60"


def test_a_fault_shows_the_id_and_nothing_else(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("<secret>")

    monkeypatch.setattr(live, "snapshot", fail)
    response = staff().get("/dashboard/snapshot.json")
    assert "secret" not in assert_page(response, 500, "Something went wrong", "/dashboard/")


def test_staff_are_led_to_the_page_of_the_failed_request(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise RuntimeError("<secret>")

    monkeypatch.setattr(live, "snapshot", fail)
    client = staff()
    address = f"/dashboard/requests/{ID}/"
    assert f'href="{address}"' in client.get("/dashboard/snapshot.json?token=letmein").content.decode()
    page = client.get(address).content.decode()
    assert "/dashboard/snapshot.json?token=***" in page
    assert "RuntimeError" in page
    assert "staff:ada" in page
    assert "secret" not in page
    assert "explain" not in page.lower().replace("explained", "")
    assert f'href="{address}"' in client.get("/dashboard/services/nothing/").content.decode()


def test_strangers_errors_are_not_recorded_and_their_failures_are(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = staff()
    text = browser().get("/nothing").content.decode()
    assert "/dashboard/requests/" not in text
    assert client.get(f"/dashboard/requests/{ID}/").status_code == 404
    monkeypatch.setattr(portal_access, "is_served", lambda _request: 1 / 0)
    assert "/dashboard/requests/" not in assert_page(
        browser().get("/portal/login/"), 500, "Something went wrong", "/portal/"
    )
    assert "ZeroDivisionError" in client.get(f"/dashboard/requests/{ID}/").content.decode()


def test_without_the_database_the_page_is_503_and_needs_none(harness: Harness) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("the server closed the connection")

    client = staff()
    with connection.execute_wrapper(away):
        response = client.get("/dashboard/")
    assert "closed the connection" not in assert_page(response, 503, "Not available now", "/dashboard/")
    assert response["Retry-After"] == "5"


def test_an_overloaded_worker_has_a_page_for_browsers_and_a_problem_for_others() -> None:
    def refusal(accept: bytes) -> Any:
        headers = [(b"accept", accept), (b"x-request-id", ID.encode())]
        error = Overloaded("too many requests for pages are in progress", retry_after=5)
        return asgi._refusal({"path": "/portal/", "headers": headers}, error)

    page = refusal(HTML.encode())
    fields = dict(page.headers)
    assert (page.status, fields[b"content-type"], fields[b"retry-after"]) == (503, b"text/html; charset=utf-8", b"5")
    assert fields[b"content-length"] == b"%d" % len(page.body)
    assert b'href="/portal/"' in page.body
    assert ID.encode() in page.body
    assert dict(refusal(b"*/*").headers)[b"content-type"] == b"application/problem+json"


def test_a_malformed_id_is_replaced_and_programs_get_no_page(harness: Harness) -> None:
    response = browser().get("/nothing", headers={"X-Request-ID": "<b>x</b>"})
    assert "<b>" not in response.content.decode()
    assert response["X-Request-ID"] in response.content.decode()
    assert "There is no such page" not in Client().get("/nothing").content.decode()
    assert browser().get("/metrics/nothing")["Content-Type"] == "application/problem+json"
