"""Every address Django serves, found in its URL conf: closed to strangers, to callers without the right, and to pages
of other sites that a member of staff happens to visit.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from rest_framework.permissions import SAFE_METHODS

from tests.metrics.harness import Harness, ok

pytestmark = pytest.mark.django_db

OPEN = {"schema", "docs", "home"}
"""How the gateway is used is no secret; and the address alone only leads to the dashboard."""
READS = {"api-explain"}
"""A POST that changes nothing, and asks for the right to read."""
ENTRANCES = {"admin:login", "admin:logout", "admin:jsi18n"}
"""What a person needs in order to log in, and what changes nothing for others."""
GIVEN = {
    "service": "crm",
    "name": "crm",
    "object_id": "1",
    "pk": 1,
    "app_label": "routing",
    "id": 1,
    "content_type_id": 1,
}
"""What stands in an address's place for a name or a number."""


class Address(NamedTuple):
    name: str
    path: str
    view: Any

    def __repr__(self) -> str:
        return self.name


def found(patterns: list[Any], namespace: str = "") -> Iterator[Address]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from found(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else namespace)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield Address(f"{namespace}{pattern.name}", _path(f"{namespace}{pattern.name}", pattern), pattern.callback)


def _path(name: str, pattern: URLPattern) -> str:
    parameters = [*pattern.pattern.converters, *pattern.pattern.regex.groupindex]
    return reverse(name, kwargs={parameter: GIVEN[parameter] for parameter in parameters})


EVERY = list(found(get_resolver().url_patterns))
SERVICES = [address for address in EVERY if address.name == "service"]
API = [each for each in EVERY if hasattr(each.view, "view_class") and each.name not in OPEN | {"service"}]
PAGES = [each for each in EVERY if each not in API + SERVICES and each.name not in OPEN | ENTRANCES]


def methods(address: Address) -> list[str]:
    view = address.view.view_class
    return [name for name in ("get", "post", "put", "patch", "delete") if hasattr(view, name)]


CALLS = [(address, method) for address in API for method in methods(address)]
CHANGES = [(address, method) for address, method in CALLS if method.upper() not in SAFE_METHODS]


def call(client: Client, address: Address, method: str, **headers: str) -> Any:
    body = {"path": "/api/v1/crm/x"} if address.name in READS else {}
    return client.generic(
        method.upper(), address.path, str(body).replace("'", '"'), "application/json", headers=headers
    )


def test_the_url_configuration_has_all_endpoints() -> None:
    assert len(API) >= 12
    assert len(CALLS) >= 13
    assert {"dashboard:overview", "admin:index", "explain", "admin:routing_service_changelist"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize(("address", "method"), CALLS)
def test_an_operation_without_a_credential_is_401(harness: Harness, address: Address, method: str) -> None:
    answer = call(Client(), address, method)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"]


@pytest.mark.parametrize(("address", "method"), CALLS)
def test_an_operation_without_the_scope_is_403(harness: Harness, address: Address, method: str) -> None:
    reads = method == "get" or address.name in READS
    for key in ("none", "every", "write" if reads else "read"):
        answer = call(Client(), address, method, **{"X-API-Key": harness.keys[key]})
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    customer = Client()
    customer.force_login(User.objects.create_user("eve"))
    assert call(customer, address, method).status_code == 403


@pytest.mark.parametrize(("address", "method"), CHANGES)
def test_an_operation_from_another_site_is_403(
    harness: Harness, staff_client: Client, address: Address, method: str
) -> None:
    harness.serve(ok())
    answer = call(staff_client, address, method, Origin="https://evil.example")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "CSRF" in answer.json()["detail"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_redirects_anyone_but_staff_to_the_login(harness: Harness, address: Address) -> None:
    customer = Client()
    customer.force_login(User.objects.create_user("eve"))
    for client in (Client(), customer):
        assert_closed(client.get(address.path))
        assert_closed(client.post(address.path))


def assert_closed(answer: HttpResponseBase) -> None:
    assert answer.status_code in (302, 403, 405)
    if answer.status_code == 302:
        assert "/login/?next=" in answer["Location"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_accepts_no_post_from_another_site(harness: Harness, address: Address) -> None:
    root = Client(enforce_csrf_checks=True)
    root.force_login(User.objects.create_superuser("root", password="for tests alone"))
    assert root.post(address.path, headers={"Origin": "https://evil.example"}).status_code in (403, 405)


def test_a_service_without_a_credential_is_401(harness: Harness) -> None:
    harness.serve(ok())
    assert [Client().get(path).status_code for path in ("/api/v1/", "/api/v1/crm/x", "/api/v1/nope")] == [401] * 3
