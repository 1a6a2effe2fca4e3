"""Every URL of the URL configuration requires a credential, the permission, and protection against CSRF."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.permissions import SAFE_METHODS

from metrics.models import Operation
from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

HEALTH = {"health", "health/ready", "health/deep"}
PUBLIC = {"schema", "docs", "home", "jwks", "javascript_catalog", "set_language", *HEALTH}
"""Public by design: the schema, the redirect to the dashboard, the language of pages, and the gateway's health."""
READ_ONLY_POSTS = {"api-explain"}
"""A POST that changes nothing and requires permission to read."""
DRY_RUNS = {"api-config", "api-config-service", "api-config-service-openapi"}
"""Changes that a key which may only read may try."""
LOGIN_PAGES = {"admin:login", "admin_login", "admin:logout", "admin:jsi18n", "account_login", "account_logout"}
"""Pages for logging in and out."""
CONNECT = {"connect-index", "connect-service", "connect-callback", "connect-links"}
"""Pages for people who are no staff, by session or link: see tests/system/test_connected_accounts.py."""
PARAMETERS = {
    "service": "crm",
    "kind": "consumer",
    "chart": "requests",
    "consumer": "crm",
    "prefix": "abcdefgh",
    "secret": "of-a-link",
    "number": "1",
    "name": "crm",
    "object_id": "1",
    "pk": 1,
    "identifier": "an-id",
    "app_label": "routing",
    "id": 1,
    "content_type_id": 1,
}
"""Values for the parameters of URL patterns."""


class Address(NamedTuple):
    name: str
    path: str
    view: Any

    def __repr__(self) -> str:
        return self.name


def collect_addresses(patterns: list[Any], namespace: str = "") -> Iterator[Address]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from collect_addresses(
                pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else namespace
            )
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield Address(f"{namespace}{pattern.name}", _path(f"{namespace}{pattern.name}", pattern), pattern.callback)


def _path(name: str, pattern: URLPattern) -> str:
    parameters = [*pattern.pattern.converters, *pattern.pattern.regex.groupindex]
    return reverse(name, kwargs={parameter: PARAMETERS[parameter] for parameter in parameters})


EVERY_ADDRESS = list(collect_addresses(get_resolver().url_patterns))
PORTAL = [each for each in EVERY_ADDRESS if each.name.startswith("portal:")]
"""Pages for members of consumers."""
SIGNED_OUT = {"portal:login", "portal:logout", "portal:invitation"}
"""Those that need no session."""
ADDRESSES = [each for each in EVERY_ADDRESS if each not in PORTAL]
SERVICES = [address for address in ADDRESSES if address.name == "service"]
NO_API = PUBLIC | CONNECT | LOGIN_PAGES | {"service"}
API = [each for each in ADDRESSES if hasattr(each.view, "view_class") and each.name not in NO_API]
PAGES = [each for each in ADDRESSES if each not in API + SERVICES and each.name not in PUBLIC | CONNECT | LOGIN_PAGES]


def methods(address: Address) -> list[str]:
    view = address.view.view_class
    return [name for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)]


CALLS = [(address, method) for address in API for method in methods(address)]
CHANGES = [(address, method) for address, method in CALLS if method.upper() not in SAFE_METHODS]


def call(client: Client, address: Address, method: str, **headers: str) -> Any:
    body = {"path": "/api/v1/crm/x"} if address.name in READ_ONLY_POSTS else {}
    return client.generic(
        method.upper(), address.path, str(body).replace("'", '"'), "application/json", headers=headers
    )


def test_the_url_configuration_has_all_endpoints() -> None:
    assert len(API) >= 12
    assert len(CALLS) >= 13
    assert {"dashboard:overview", "admin:index", "explain-request", "admin:routing_service_changelist"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize(("address", "method"), CALLS)
def test_an_operation_without_a_credential_is_401(harness: Harness, address: Address, method: str) -> None:
    response = call(Client(), address, method)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response["WWW-Authenticate"]


@pytest.mark.parametrize(("address", "method"), CALLS)
def test_an_operation_without_the_scope_is_403(harness: Harness, address: Address, method: str) -> None:
    reads = method == "get" or address.name in READ_ONLY_POSTS
    for key in ("none", "every", "write" if reads else "read"):
        response = call(Client(), address, method, **{"X-API-Key": harness.keys[key]})
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    customer = Client()
    customer.force_login(User.objects.create_user("eve"))
    assert call(customer, address, method).status_code == 403


@pytest.mark.parametrize(("address", "method"), [each for each in CHANGES if each[0].name not in DRY_RUNS])
def test_what_has_no_dry_run_is_not_read_with_one(harness: Harness, address: Address, method: str) -> None:
    tried = address._replace(path=f"{address.path}?dry_run=1")
    for key in ("read", "config-read"):
        if (key, address.name) not in {("read", name) for name in READ_ONLY_POSTS}:
            assert call(Client(), tried, method, **{"X-API-Key": harness.keys[key]}).status_code == 403


@pytest.mark.parametrize(("address", "method"), CHANGES)
def test_a_write_with_an_unknown_parameter_changes_nothing(harness: Harness, address: Address, method: str) -> None:
    harness.serve(ok())
    owner = Client()
    owner.force_login(User.objects.create_superuser("olga"))
    misspelt = address._replace(path=f"{address.path}?dry-run=1")
    response = call(owner, misspelt, method)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert "unknown parameter 'dry-run'" in response.json()["detail"]
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("address", "method"), CHANGES)
def test_an_operation_from_another_site_is_403(
    harness: Harness, staff_client: Client, address: Address, method: str
) -> None:
    harness.serve(ok())
    response = call(staff_client, address, method, Origin="https://evil.example")
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert "CSRF" in response.json()["detail"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_redirects_anyone_but_staff_to_the_login(harness: Harness, address: Address) -> None:
    customer = Client()
    customer.force_login(User.objects.create_user("eve"))
    for client in (Client(), customer):
        assert_closed(client.get(address.path))
        assert_closed(client.post(address.path))


def assert_closed(response: HttpResponseBase) -> None:
    assert response.status_code in (302, 403, 405)
    if response.status_code == 302:
        assert "/login/?next=" in response["Location"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_accepts_no_post_from_another_site(harness: Harness, address: Address) -> None:
    root = Client(enforce_csrf_checks=True)
    root.force_login(User.objects.create_superuser("root", password="for tests alone"))
    assert root.post(address.path, headers={"Origin": "https://evil.example"}).status_code in (403, 405)


@pytest.mark.parametrize("address", PORTAL)
def test_a_page_of_the_portal_is_for_members(harness: Harness, address: Address) -> None:
    root, eve = Client(), Client()
    root.force_login(User.objects.create_superuser("root"))
    eve.force_login(User.objects.create_user("eve"))
    assert {client.get(address.path).status_code for client in (Client(), root, eve)} == {404}
    harness.live.table.has_members = True
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(User.objects.get(username="root"))
    assert forged.post(address.path, headers={"Origin": "https://evil.example"}).status_code == 403
    if address.name in SIGNED_OUT:
        return
    for client, status in ((Client(), 302), (root, 403), (eve, 403)):
        assert [client.get(address.path).status_code, client.post(address.path).status_code] == [status, status]
    assert Client().get(address.path)["Location"].startswith("/portal/login/")


def test_a_service_without_a_credential_is_401(harness: Harness) -> None:
    harness.serve(ok())
    assert [Client().get(path).status_code for path in ("/api/v1/", "/api/v1/crm/x", "/api/v1/nope")] == [401] * 3
