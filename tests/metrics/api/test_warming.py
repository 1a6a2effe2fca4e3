"""Warming the cache through the API."""

import pytest
from django.test import Client

from metrics.models import Operation
from resilience.cache.driver import Cache
from resilience.cache.policy import CachePolicy
from resilience.outage import StoreUnavailable
from routing.router.policy import RoutePolicy
from tests.metrics.api.endpoints import send
from tests.metrics.harness import QUICK, Harness, ok

pytestmark = pytest.mark.django_db


def test_shared_responses_are_warmed_and_others_are_not(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    harness.serve(ok(), name="mail", policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    paths = ["/api/v1/crm/contacts/1", "/api/v1/mail/x", "/api/v1/nope/x", "/elsewhere", "http://evil/"]
    response = send(api_client, "post", "/metrics/cache/warm", {"paths": paths})
    assert (response.status_code, response.json()) == (202, {"warmed": 1, "failed": 4})
    harness.request("/api/v1/crm/contacts/1")
    assert api_client.get("/metrics/cache").json()["byService"]["crm"]["hits"] == 1


def test_without_paths_private_responses_are_fetched_again_as_their_caller(
    harness: Harness, api_client: Client
) -> None:
    origin = harness.serve(ok(), policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    for _ in range(2):
        harness.request("/api/v1/crm/contacts/7")
    assert send(api_client, "post", "/metrics/cache/warm").json() == {"warmed": 1, "failed": 0}
    callers = [dict(request.fields)[b"x-gateway-caller"] for request in origin.requests]
    assert callers == [f"key:{harness.keys['every'].split('_')[1]}".encode()] * 2


def test_without_paths_the_most_hit_responses_are_warmed(harness: Harness, api_client: Client) -> None:
    origin = harness.serve(ok())
    for _ in range(3):
        harness.request("/api/v1/crm/contacts/7")
    send(api_client, "delete", "/metrics/cache")
    assert send(api_client, "post", "/metrics/cache/warm").json() == {"warmed": 1, "failed": 0}
    assert len(origin.requests) == 2


def test_an_empty_list_warms_nothing(harness: Harness, api_client: Client) -> None:
    origin = harness.serve(ok())
    for _ in range(2):
        harness.request("/api/v1/crm/contacts/7")
    for dry_run, expected in ((False, {}), (True, {"wouldWarm": 0})):
        response = send(api_client, "post", "/metrics/cache/warm", {"paths": [], "dry_run": dry_run})
        assert (response.status_code, response.json()) == (202, {"warmed": 0, "failed": 0, **expected})
    assert len(origin.requests) == 1


def test_a_response_that_is_not_stored_is_not_counted_as_warmed(harness: Harness, api_client: Client) -> None:
    harness.serve(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\n{}")
    response = send(api_client, "post", "/metrics/cache/warm", {"paths": ["/api/v1/crm/contacts/1"]})
    assert response.json() == {"warmed": 0, "failed": 1}


def test_without_the_store_nothing_is_warmed(
    harness: Harness, api_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = harness.serve(ok())

    async def usage(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(Cache, "usage", usage)
    response = send(api_client, "post", "/metrics/cache/warm", {"paths": ["/api/v1/crm/contacts/1"]})
    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert origin.requests == []


@pytest.mark.parametrize(("query", "body"), [("", {"dry_run": True}), ("?dry_run=1", {})])
def test_a_dry_run_counts_what_would_be_warmed_and_calls_no_backend(
    harness: Harness, api_client: Client, query: str, body: dict[str, bool]
) -> None:
    origin = harness.serve(ok())
    harness.serve(ok(), name="mail", policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    for _ in range(2):
        harness.request("/api/v1/crm/contacts/7")
    path, before = f"/metrics/cache/warm{query}", len(origin.requests)
    response = send(api_client, "post", path, body)
    assert (response.status_code, response.json()) == (202, {"warmed": 0, "failed": 0, "wouldWarm": 1})
    listed = ["/api/v1/crm/contacts/1", "/api/v1/crm/contacts/1", "/api/v1/mail/x", "/elsewhere"]
    response = send(api_client, "post", path, {**body, "paths": listed})
    assert (response.status_code, response.json()) == (202, {"warmed": 0, "failed": 2, "wouldWarm": 1})
    assert len(origin.requests) == before
    assert not Operation.objects.exists()
