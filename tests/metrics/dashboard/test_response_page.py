"""A service's response as a page for staff, and the list of services."""

import pytest
from django.test import Client

from tests.metrics.harness import Harness, ok
from tests.staff import member_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Client:
    return member_of("Owner", headers={"Accept": "text/html"})


def test_it_is_titled_as_the_service_and_its_body_is_text(harness: Harness, owner: Client) -> None:
    harness.serve(ok(b'{"a": "<script>alert(1)</script>"}'))
    response = owner.get("/api/v1/crm/contacts/7?x=<b>")
    page = response.content.decode()
    assert (response.status_code, response["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<title>crm/contacts/7 · Intelligence Gateway</title>" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page
    assert "<b>" not in page
    assert 'href="/dashboard/services/crm/"' in page
    assert "script-src 'self'; style-src 'self' 'unsafe-inline'" in response["Content-Security-Policy"]


def test_a_failed_response_leads_to_its_request(harness: Harness, owner: Client) -> None:
    response = owner.get("/api/v1/nothing/7", headers={"X-Request-ID": "req-7-of-a-test"})
    page = response.content.decode()
    assert response.status_code == 404
    assert "unknown_service" in page
    assert 'href="/dashboard/requests/req-7-of-a-test/"' in page
    assert owner.get("/dashboard/requests/req-7-of-a-test/").status_code == 200


def test_a_response_without_a_body_is_a_page(harness: Harness, owner: Client) -> None:
    harness.serve(b"HTTP/1.1 204 No Content\r\n\r\n")
    response = owner.get("/api/v1/crm/contacts/7")
    assert response.status_code == 200
    assert "204 No Content" in response.content.decode()


@pytest.mark.parametrize("path", ["/api/v1/", "/api/v1"])
def test_the_list_of_services_leads_to_each(harness: Harness, owner: Client, path: str) -> None:
    harness.serve(ok())
    page = owner.get(path).content.decode()
    assert '<h1 class="address">Services</h1>' in page
    assert '<a href="/api/v1/crm/">crm</a>' in page
    assert "1 service<" in page
