"""The admin's list of a service's routes, and their forms."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from metrics.models import Operation
from routing.database.loader import current_version, raw_document
from routing.models import Route, Service, Target
from tests.routing.pages import browser_form
from tests.routing.test_admin import ROUTES, TARGET, both, errors, yaml

pytestmark = pytest.mark.django_db


def service_of(*paths: str, name: str = "crm") -> Service:
    service = Service.objects.create(name=name)
    Target.objects.create(service=service, **TARGET)
    Route.objects.bulk_create(Route(service=service, path=path, position=n) for n, path in enumerate(paths))
    return service


def paths(name: str = "crm") -> list[str]:
    return [route["path"] for route in raw_document()["services"][name]["routes"]]


def pk_of(path: str) -> int:
    return int(Route.objects.get(path=path).pk)


def test_only_the_routes_of_the_service_are_listed_in_their_order_and_found(root: Client) -> None:
    service_of("/b", "/a", "/c")
    service_of("/other", name="billing")
    page = root.get(ROUTES, {"service__name": "crm"})
    assert [route.path for route in page.context["cl"].result_list] == ["/b", "/a", "/c"]
    assert page.content.decode().count("data-move") == 3
    found = root.get(ROUTES, {"service__name": "crm", "q": "/a"})
    assert [route.path for route in found.context["cl"].result_list] == ["/a"]
    assert "data-move" not in found.content.decode()
    everything = root.get(ROUTES)
    assert len(everything.context["cl"].result_list) == 4
    assert "billing</td>" in everything.content.decode().replace("\n", "")


@pytest.mark.parametrize(
    ("posted", "message"),
    [
        ({"path": "a"}, "must start with '/'"),
        ({"path": "/a"}, "duplicate route: /a"),
        (yaml("path: /b\ntimeout: {total: 1m, reed: 1s}"), "line 2: timeout: unknown key 'reed'"),
        ({"path": "/b", **both("cache__tags", "m:{id}", "")}, "{id} is not a parameter of the route's path"),
        ({"path": "/b", "fallback__service": "crm"}, "crm"),
        ({"path": "/b", "service": ""}, "This field is required"),
    ],
)
def test_a_routes_fault_is_shown_and_nothing_is_saved(root: Client, posted: dict[str, Any], message: str) -> None:
    crm = service_of("/a")
    response = root.post(f"{ROUTES}add/", {"service": crm.pk, "enabled": "on", **posted})
    assert response.status_code == 200
    assert message in errors(response.content.decode())
    assert paths() == ["/a"]


def test_a_route_is_added_at_the_end_of_the_service_whose_list_leads_to_its_form(root: Client) -> None:
    crm = service_of("/a", "/b")
    page = root.get(f"{ROUTES}add/", {"_changelist_filters": "service__name=crm"})
    assert page.context["adminform"].form.initial["service"] == crm.pk
    assert root.post(f"{ROUTES}add/", {"service": crm.pk, "enabled": "on", "path": "/c"}).status_code == 302
    assert paths() == ["/a", "/b", "/c"]


def test_a_route_is_moved_beside_another(root: Client) -> None:
    service_of("/a", "/b", "/c", "/d")
    version = current_version()
    moved = root.post(f"{ROUTES}{pk_of('/d')}/move/", {"before": pk_of("/b")})
    assert moved.json() == {"position": 2}
    assert paths() == ["/a", "/d", "/b", "/c"]
    assert current_version() > version
    assert root.post(f"{ROUTES}{pk_of('/a')}/move/", {"after": pk_of("/c")}).json() == {"position": 4}
    assert paths() == ["/d", "/b", "/c", "/a"]
    operation = Operation.objects.latest("pk")
    assert (operation.action, operation.service) == ("route.moved", "crm")
    assert (operation.before, operation.after) == (
        {"route": "any /a", "position": 1},
        {"route": "any /a", "position": 4},
    )


def test_a_route_is_not_moved_beside_one_of_another_service_or_none(root: Client) -> None:
    service_of("/a", "/b")
    service_of("/other", name="billing")
    for neighbour in (pk_of("/other"), 10**17, "x", ""):
        assert root.post(f"{ROUTES}{pk_of('/a')}/move/", {"before": neighbour}).status_code == 409
    assert root.get(f"{ROUTES}{pk_of('/a')}/move/").status_code == 403
    assert paths() == ["/a", "/b"]


def test_routes_are_moved_together_to_a_position(root: Client) -> None:
    service_of("/a", "/b", "/c", "/d")
    service_of("/other", name="billing")

    def move(position: str, *moved: str) -> str:
        selected = [pk_of(path) for path in moved]
        posted = {"action": "move", "position": position, "_selected_action": selected}
        return errors(root.post(ROUTES, posted, follow=True).content.decode())

    assert "2 moved." in move("1", "/b", "/d")
    assert paths() == ["/b", "/d", "/a", "/c"]
    assert "1 moved." in move("99", "/b")
    assert paths() == ["/d", "/a", "/c", "/b"]
    assert "Enter the new position" in move("", "/b")
    assert "Select routes of one service." in move("1", "/b", "/other")
    assert paths() == ["/d", "/a", "/c", "/b"]


def test_routes_are_disabled_and_enabled_together(root: Client) -> None:
    service_of("/a", "/b", "/c")
    selected = [pk_of("/a"), pk_of("/c")]
    for action, enabled in (("disable", False), ("enable", True)):
        version = current_version()
        root.post(ROUTES, {"action": action, "_selected_action": selected})
        found = {route["path"]: route["enabled"] for route in raw_document()["services"]["crm"]["routes"]}
        assert found == {"/a": enabled, "/b": True, "/c": enabled}
        assert current_version() == version + 1
    assert Operation.objects.filter(action="route.changed").count() == 4


@pytest.mark.parametrize("number", [45, 300, 1_000])
def test_a_service_with_many_routes_and_a_route_of_it_are_saved(root: Client, number: int) -> None:
    """However many there are, the pages have the same fields, and saving takes the same statements."""
    service = service_of(*(f"/r{n}/{{id}}" for n in range(number)))
    change = f"/admin/routing/service/{service.pk}/change/"
    page = root.get(change)
    assert len(page.content) < 500_000
    with CaptureQueriesContext(
        connection,
    ) as queries:
        response = root.post(change, browser_form(page) | both("rate_limit", "5", "", "m"))
    assert response.status_code == 302, errors(response.content.decode())
    assert len(queries) < 40
    change = f"{ROUTES}{pk_of('/r7/{id}')}/change/"
    with CaptureQueriesContext(connection) as queries:
        response = root.post(change, browser_form(root.get(change)) | both("rate_limit", "6", "", "m"))
    assert response.status_code == 302, errors(response.content.decode())
    assert len(queries) < 80
    document = raw_document()["services"]["crm"]
    assert document["rate_limit"] == "5/m"
    assert [n for n, route in enumerate(document["routes"]) if route.get("rate_limit")] == [7]


def test_a_service_keeps_the_settings_that_its_routes_depend_on(root: Client) -> None:
    service = service_of("/a/{id}")
    Route.objects.update(cache={"ttl": 60}, methods=["POST"], invalidates=["a:{id}"])
    change = f"/admin/routing/service/{service.pk}/change/"
    posted = browser_form(root.get(change)) | {"cache__methods": ["GET", "POST"]}
    page = errors(root.post(change, posted).content.decode())
    assert "route POST /a/{id}" in page
    assert raw_document()["services"]["crm"].get("cache") is None
