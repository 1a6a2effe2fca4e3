"""Warming by the API: what is made ready for whom, and how many would be."""

import pytest
from django.test import Client

from metrics.models import Operation
from resilience.cache.policy import CachePolicy
from routing.router.policy import RoutePolicy
from tests.metrics.api.test_views import send
from tests.metrics.panel import QUICK, Panel, ok

pytestmark = pytest.mark.django_db


def test_shared_answers_are_made_ready_and_others_are_not(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    panel.serve(ok(), name="mail", policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    paths = ["/api/v1/crm/contacts/1", "/api/v1/mail/x", "/api/v1/nope/x", "/elsewhere", "http://evil/"]
    answer = send(program, "post", "/metrics/cache/warm", {"paths": paths})
    assert (answer.status_code, answer.json()) == (202, {"warmed": 1, "failed": 4})
    panel.ask("/api/v1/crm/contacts/1")
    assert program.get("/metrics/cache").json()["byService"]["crm"]["hits"] == 1


def test_without_a_list_each_callers_own_is_fetched_again_in_its_name(panel: Panel, program: Client) -> None:
    origin = panel.serve(ok(), policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    for _ in range(2):
        panel.ask("/api/v1/crm/contacts/7")
    assert send(program, "post", "/metrics/cache/warm").json() == {"warmed": 1, "failed": 0}
    callers = [dict(request.fields)[b"x-gateway-caller"] for request in origin.requests]
    assert callers == [f"key:{panel.keys['every'].split('_')[1]}".encode()] * 2


def test_without_a_list_the_most_hit_are_made_ready(panel: Panel, program: Client) -> None:
    origin = panel.serve(ok())
    for _ in range(3):
        panel.ask("/api/v1/crm/contacts/7")
    send(program, "delete", "/metrics/cache")
    assert send(program, "post", "/metrics/cache/warm").json() == {"warmed": 1, "failed": 0}
    assert len(origin.requests) == 2


@pytest.mark.parametrize(("query", "said"), [("", {"dry_run": True}), ("?dry_run=1", {})])
def test_a_dry_run_says_how_many_would_be_made_ready_and_asks_nobody(
    panel: Panel, program: Client, query: str, said: dict[str, bool]
) -> None:
    origin = panel.serve(ok())
    panel.serve(ok(), name="mail", policy=RoutePolicy(timeout=QUICK, cache=CachePolicy(ttl=60)))
    for _ in range(2):
        panel.ask("/api/v1/crm/contacts/7")
    path, before = f"/metrics/cache/warm{query}", len(origin.requests)
    answer = send(program, "post", path, said)
    assert (answer.status_code, answer.json()) == (202, {"warmed": 0, "failed": 0, "wouldWarm": 1})
    listed = ["/api/v1/crm/contacts/1", "/api/v1/crm/contacts/1", "/api/v1/mail/x", "/elsewhere"]
    answer = send(program, "post", path, {**said, "paths": listed})
    assert (answer.status_code, answer.json()) == (202, {"warmed": 0, "failed": 2, "wouldWarm": 1})
    assert len(origin.requests) == before
    assert not Operation.objects.exists()
