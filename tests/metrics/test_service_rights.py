"""Someone with rights for one service: no page and no endpoint names another service, and no write reaches one."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from routing.pages.site import admin_site
from tests.metrics.api.test_every_endpoint import CONNECT, LOGIN_PAGES, PARAMETERS, PUBLIC
from tests.metrics.harness import Harness
from tests.metrics.service_rights import FOREIGN, OWN, WORD, foreign_state, limited, model_of, rows, set_up

pytestmark = pytest.mark.django_db
LEFT_OUT = (
    PUBLIC
    | CONNECT
    | LOGIN_PAGES
    | {"admin:password_change", "admin:password_change_done", "webhook", "events", "service"}
)
"""What is public, what is about the account alone, and services themselves, which have tests of their own."""
TARGETS = [{"url": "http://evil.example"}]
DOCUMENTS: tuple[dict[str, Any], ...] = (
    {"version": 1, "services": {FOREIGN: {"targets": TARGETS}}},
    {"targets": TARGETS},
)
OPERATION: dict[str, Any] = {
    "reason": "r",
    "seconds": 60,
    "latest": 1,
    "version": "1",
    "credential": "service",
    "service": FOREIGN,
    "path": f"/api/v1/{FOREIGN}/contacts/1",
    "paths": [f"/api/v1/{FOREIGN}/contacts/1"],
}
METHODS = ("post", "put", "patch", "delete")


class Place(NamedTuple):
    """An address of the URL configuration, with the names of its parameters."""

    name: str
    parameters: tuple[str, ...]
    is_api: bool

    def path(self, service: str) -> str:
        """With the service, or the key of one of its rows, in place of its parameters."""
        values = {name: PARAMETERS[name] for name in self.parameters}
        values |= {name: service for name in ("service", "name") if name in values}
        keys = {"pk", "object_id", "number"} & values.keys()
        return reverse(self.name, kwargs=values | {name: self._row(service) for name in keys})

    def _row(self, service: str) -> int:
        return rows(model_of(self.name), service)


def collect(patterns: list[Any], namespace: str = "") -> Iterator[Place]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from collect(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else namespace)
        elif isinstance(pattern, URLPattern) and pattern.name:
            name = f"{namespace}{pattern.name}"
            parameters = (*pattern.pattern.converters, *pattern.pattern.regex.groupindex)
            yield Place(name, parameters, hasattr(pattern.callback, "view_class") or hasattr(pattern.callback, "cls"))


PLACES = [
    place
    for place in collect(get_resolver().url_patterns)
    if place.name not in LEFT_OUT and not place.name.startswith("portal:")
]
EVERYWHERE = {
    *("dashboard:events", "dashboard:snapshot", "dashboard:requests", "dashboard:usage", "dashboard:alerts"),
    *("dashboard:palette", "metrics-overview", "metrics-circuits", "metrics-cache", "metrics-alerts"),
    *("metrics-usage", "metrics-requests", "metrics-credentials", "api-config", "api-config-history"),
    *("admin:routing_service_changelist", "admin:routing_route_add", "admin:metrics_operation_changelist"),
    *("admin:routing_faileddelivery_changelist", "admin:routing_watch_changelist", "admin:metrics_circuit_changelist"),
    *("admin:routing_configurationrevision_changelist", "admin:routing_configurationproposal_changelist"),
}
"""Where the other service is shown to those who may view the gateway."""


def queries(place: Place) -> list[str]:
    """Those with which each kind of page is asked for the other service."""
    if place.name.endswith("_changelist"):
        return ["", f"?q={WORD}"]
    if place.name.startswith("admin:"):
        return [""]
    grouped = "by=key&group_by=service&format=csv&compare=week&name=aaaaaaaa&kind=failed"
    return ["", f"?service={FOREIGN}", f"?{grouped}"] + ([f"?q={WORD}"] if "palette" in place.name else [])


def bodies(place: Place) -> tuple[dict[str, Any], ...]:
    """What is sent to an address: as far as it can be, about the other service."""
    if not place.is_api:
        return ({},)
    return DOCUMENTS if place.name.startswith("api-config") else (OPERATION,)


@pytest.fixture
def world(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setattr("metrics.usage.selectors.collect", lambda: None)  # what is stored suffices
    set_up(harness)
    return harness


def text(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    headers = " ".join(f"{name}: {value}" for name, value in response.headers.items())
    return str(content.decode("utf-8", "replace") + headers)


def leaks(response: Any, *sent: str) -> bool:
    """Whether a response names what belongs to the other service, beyond what was sent."""
    found = text(response)
    for each in sent:
        found = found.replace(each, "")
    return WORD in found


def test_the_other_service_is_everywhere_for_those_who_may_view_the_gateway(world: Harness, owner: Client) -> None:
    """Otherwise the tests below would show nothing."""
    named = {place.name for place in PLACES if place.name in EVERYWHERE and WORD in text(owner.get(place.path(OWN)))}
    assert named == EVERYWHERE


@pytest.mark.slow
def test_nothing_that_is_read_names_another_service(world: Harness) -> None:
    client = limited("Owner")
    leaking, opened = [], set()
    for place in PLACES:
        for query in queries(place):
            path = place.path(OWN) + query
            response = client.get(path)
            if response.status_code == 200 and WORD not in query:
                opened.add(place.name)
            if leaks(
                response, query.removeprefix("?"), FOREIGN if FOREIGN in query else " ", WORD if WORD in query else " "
            ):
                leaking.append((path, response.status_code))
    assert not leaking
    assert {
        *("dashboard:overview", "dashboard:events", "dashboard:snapshot", "dashboard:requests", "dashboard:usage"),
        *("dashboard:callers", "dashboard:savings", "dashboard:advice", "dashboard:what_if", "dashboard:alerts"),
        *("dashboard:service", "dashboard:detail", "dashboard:routes", "dashboard:incident", "dashboard:history"),
        *(
            "metrics-overview",
            "metrics-circuits",
            "metrics-cache",
            "metrics-alerts",
            "metrics-usage",
            "metrics-history",
        ),
        *(
            "metrics-requests",
            "metrics-credentials",
            "metrics-savings",
            "metrics-callers",
            "api-config",
            "explain-request",
        ),
        *("api-config-service", "api-config-history", "api-config-proposals", "admin:index"),
        *("admin:routing_service_changelist", "admin:routing_service_change", "admin:routing_route_changelist"),
        *("admin:routing_target_changelist", "admin:metrics_operation_changelist", "admin:metrics_circuit_changelist"),
        *("admin:routing_faileddelivery_changelist", "admin:routing_watch_changelist", "admin:undo_revision"),
        *("admin:routing_configurationrevision_changelist", "admin:routing_configurationproposal_changelist"),
        *("admin:routing_backendcredential_changelist", "admin:metrics_cachedservice_changelist", "service_document"),
    } <= opened


def test_an_address_of_another_service_answers_as_one_of_none(world: Harness) -> None:
    client = limited("Owner")
    leaking = []
    for place in PLACES:
        path = place.path(FOREIGN)
        if path == place.path(OWN):
            continue
        response = client.get(path)
        # Django's admin leads to its start page where there is no such row.
        is_closed = response.status_code in (403, 404, 405) or (
            response.status_code == 302 and WORD not in text(response)
        )
        if not is_closed or leaks(response, path, FOREIGN if FOREIGN in path else " "):
            leaking.append((path, response.status_code))
    assert not leaking


@pytest.mark.slow
def test_no_write_reaches_another_service(world: Harness) -> None:
    client, before = limited("Owner"), foreign_state(world)
    world.serve(name="unused")
    for place in PLACES:
        own, foreign = place.path(OWN), place.path(FOREIGN)
        for path in dict.fromkeys((foreign, own)):
            for method in METHODS if place.is_api else ("post",):
                for body in bodies(place):
                    more = {"content_type": "application/json"} if place.is_api else {}
                    response = getattr(client, method)(path, data=body, headers={"If-Match": "*"}, **more)
                    if response.status_code == 405:
                        break
                    assert not leaks(response, FOREIGN, path), (method, path, body)
        if foreign_state(world) != before:
            pytest.fail(f"{place.name} has changed what is not the caller's")


def test_no_action_of_a_list_reaches_another_service(world: Harness) -> None:
    client, before = limited("Owner"), foreign_state(world)
    for model, page in admin_site()._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        actions = [each if isinstance(each, str) else each.__name__ for each in page.actions or ()]
        for action in (*actions, "delete_selected"):
            data = {
                "action": action,
                "_selected_action": [rows(model, FOREIGN), rows(model, OWN)],
                "select_across": "1",
                "confirmed": "1",
                "post": "yes",
                "tag": "contacts",
                "reason": "r",
                "position": "1",
            }
            response = client.post(reverse(name), data)
            assert not leaks(response), (name, action)
            assert foreign_state(world) == before, (name, action)
