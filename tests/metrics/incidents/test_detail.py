"""An incident of a running gateway: what staff are told, and what they can do about it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from metrics.incidents import overview
from metrics.incidents.incident import Phase, SignalKind
from metrics.models import CircuitChange, Operation
from resilience.breaker.policy import BreakerPolicy
from resilience.cache.policy import CachePolicy
from routing.database import revisions
from routing.database.actor import acting_as
from routing.database.apply import apply_document
from routing.models import ConfigurationRevision, QuotaUsage, Service
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service as LoadedService
from tests.metrics.api.endpoints import send
from tests.metrics.harness import QUICK, Harness, ok
from tests.staff import member_of

pytestmark = pytest.mark.django_db

FAILING = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
POLICY = RoutePolicy(
    timeout=QUICK, cache=CachePolicy(stale_if_error=300), breaker=BreakerPolicy(failure_threshold=5, open_for=10)
)


def incident(client: Client, service: str = "crm") -> Any:
    response = client.get(f"/dashboard/services/{service}/incident.json")
    assert response.status_code == 200
    return response.json()


def flush(harness: Harness) -> None:
    """Record the circuit's transitions, as a worker does every second. Its thread has no part in the transaction."""
    harness.run(harness.flusher.flush())
    transitions, harness.flusher._unsaved_transitions = harness.flusher._unsaved_transitions, []
    CircuitChange.objects.bulk_create(
        CircuitChange(
            at=datetime.fromtimestamp(move.at, UTC), service=move.service, before=move.before, after=move.after
        )
        for move in transitions
    )


def test_an_open_circuit_says_why_since_when_for_whom_and_what_callers_get(
    harness: Harness, staff_client: Client
) -> None:
    harness.serve(FAILING, policy=POLICY)
    assert incident(staff_client) is None
    assert [harness.request("/api/v1/crm/contacts/7") for _ in range(8)] == [503] * 8
    flush(harness)
    found = incident(staff_client)
    signal = found["incident"]["signals"][0]
    assert (found["incident"]["phase"], signal["kind"], signal["since"]) == ("active", "circuit", harness.clock())
    assert [(cause["name"], cause["count"]) for cause in found["evidence"]["causes"]] == [
        ("503 from /contacts/{id}", 5)
    ]
    (caller,) = found["evidence"]["top_callers"]
    assert (caller["name"], caller["count"], caller["share"]) == (f"key:{harness.keys['every'].split('_')[1]}", 8, 1.0)
    assert (found["evidence"]["failed"], found["traffic_share"]) == (8, 1.0)
    assert found["evidence"]["answers"][0] == {"name": "503 circuit_open", "count": 3, "share": 0.375}
    assert found["evidence"]["answers"][1:] == [{"name": "what the service responds", "count": 5, "share": 0.625}]
    assert found["meanwhile"] == "stale responses up to 300 s old, or else 503"
    assert len(found["failures"]) == 8
    assert {failure["cause"] for failure in found["failures"]} == {"503 from /contacts/{id}", ""}


def test_it_stays_through_half_open_and_for_five_minutes_after(harness: Harness) -> None:
    harness.serve(*[FAILING] * 5, ok(), policy=POLICY)
    for _ in range(5):
        harness.request("/api/v1/crm/contacts/7")
    flush(harness)
    began = harness.clock()

    def phase() -> Phase | None:
        flush(harness)
        found = [each for each in overview.incidents() if each.signals[0].kind is SignalKind.CIRCUIT]
        assert all(each.since == began for each in found)
        return found[0].phase if found else None

    assert phase() is Phase.ACTIVE
    harness.clock.advance(11)
    assert harness.request("/api/v1/crm/contacts/7") == 200
    assert phase() is Phase.RECOVERING
    assert harness.request("/api/v1/crm/contacts/8") == 200
    assert phase() is Phase.RECOVERED
    harness.clock.advance(295)
    assert phase() is Phase.RECOVERED
    harness.clock.advance(10)
    assert phase() is None


def test_an_ejected_target_and_a_quota_near_its_end_are_incidents(harness: Harness) -> None:
    targets = (Target("http://127.0.0.1:9"), Target("http://127.0.0.1:10"))
    harness.add(LoadedService("mail", targets, policy=POLICY))
    balancer = harness.balancers.of(harness.live.table.services["mail"])
    for _ in range(3):
        balancer.failed(balancer._states[0], "connection refused", no_response=True)
    now = int(harness.clock())
    QuotaUsage.objects.create(counter="consumer:7|plan|month", used=90, warned=80, ends=now + 86_400)
    QuotaUsage.objects.create(counter="consumer:8|plan|month", used=90, warned=80, ends=now - 1)
    found = {each.service: [signal.text for signal in each.signals] for each in overview.incidents()}
    assert found["mail"] == ["1 of 2 targets without calls: 127.0.0.1:9 ejected"]
    assert [text.partition(" is ")[0] for text in found[""]] == ["the quota plan-month of consumer 7"]


def document(port: int) -> dict[str, Any]:
    return {"version": 1, "services": {"crm": {"targets": [{"url": f"http://127.0.0.1:{port}"}]}}}


def change(actor: str, port: int) -> ConfigurationRevision:
    with acting_as(actor):
        apply_document(document(port))
        revision = revisions.record_revision()
    assert revision is not None
    return revision


def test_the_change_before_it_is_shown_and_can_be_rolled_back_with_a_reason(harness: Harness) -> None:
    client, before, last = member_of("Owner", "olga"), change("staff:ada", 9101), change("staff:bob", 9)
    harness.serve(FAILING, policy=POLICY)
    harness.clock.advance(last.created_at.timestamp() + 1 - harness.clock())
    for _ in range(5):
        harness.request("/api/v1/crm/contacts/7")
    flush(harness)
    found = incident(client)
    shown = found["changes"][0]
    assert (shown["actor"], shown["text"], shown["names_service"]) == ("staff:bob", "changed crm", True)
    assert any("9101" in line for line in shown["lines"] if line.startswith("-"))
    assert (shown["revision"], shown["undo"], shown["later"], found["revision"]) == (last.pk, before.pk, 0, last.pk)
    address = f"/api/config/history/{shown['undo']}/restore"
    assert send(client, "post", address, {"latest": before.pk, "reason": "it fails"}).status_code == 412
    assert send(client, "post", address, {"latest": last.pk}).status_code == 400
    restored = send(client, "post", address, {"latest": last.pk, "reason": "it fails"}).json()
    assert restored == {"restored": before.pk, "services": ["crm"]}
    assert Service.objects.get().targets.get().url == "http://127.0.0.1:9101"
    entry = Operation.objects.get(action="configuration.rollback")
    assert (entry.actor, (entry.after or {})["reason"]) == ("staff:olga", "it fails")


def test_an_operator_may_not_roll_back(harness: Harness, staff_client: Client) -> None:
    before, last = change("staff:ada", 9101), change("staff:bob", 9)
    body = {"latest": last.pk, "reason": "it fails"}
    staff_client.cookies["csrftoken"] = "a" * 32
    address = f"/api/config/history/{before.pk}/restore"
    assert send(staff_client, "post", address, body, **{"X-CSRFToken": "a" * 32}).status_code == 403
    assert Service.objects.get().targets.get().url == "http://127.0.0.1:9"


def test_whoever_may_only_read_may_not_roll_back_as_a_dry_run(harness: Harness, staff_client: Client) -> None:
    before, last = change("staff:ada", 9101), change("staff:bob", 9)
    body, address = {"latest": last.pk, "reason": "it fails"}, f"/api/config/history/{before.pk}/restore?dry_run=1"
    staff_client.cookies["csrftoken"] = "a" * 32
    for client, headers in (
        (Client(), {"X-API-Key": harness.keys["config-read"]}),
        (staff_client, {"X-CSRFToken": "a" * 32}),
    ):
        assert send(client, "post", address, body, **headers).status_code == 403
    assert send(member_of("Owner", "olga"), "post", address, body).status_code == 400
    assert Service.objects.get().targets.get().url == "http://127.0.0.1:9"


def test_a_deployment_is_shown_beside_the_incident(harness: Harness, api_client: Client, staff_client: Client) -> None:
    harness.serve(FAILING, policy=POLICY)
    body = {"version": "<b>1.4.2</b>", "service": "crm"}
    assert send(api_client, "post", "/metrics/deployments", body).json() == body
    assert send(api_client, "post", "/metrics/deployments", {**body, "service": "nothing"}).status_code == 404
    harness.clock.advance(Operation.objects.get().at.timestamp() + 1 - harness.clock())
    for _ in range(5):
        harness.request("/api/v1/crm/contacts/7")
    assert [each["text"] for each in incident(staff_client)["changes"]] == ["deployed <b>1.4.2</b>"]


def test_targets_are_probed_whatever_the_circuit_says(harness: Harness, api_client: Client) -> None:
    origin = harness.serve(*[FAILING] * 5, ok(), policy=POLICY)
    for _ in range(5):
        harness.request("/api/v1/crm/contacts/7")
    answer = send(api_client, "post", "/metrics/circuit-breakers/crm/probe").json()
    (target,) = answer["targets"]
    assert (target["target"], target["path"], target["status"], target["reason"]) == (origin.target.url, "/", 200, "")
    assert harness.request("/api/v1/crm/contacts/7") == 503
    assert (Operation.objects.get().after or {})["targets"] == [{"target": origin.target.url, "status": 200}]
    harness.add(LoadedService("dead", (Target("http://127.0.0.1:9"),), policy=POLICY))
    (target,) = send(api_client, "post", "/metrics/circuit-breakers/dead/probe").json()["targets"]
    assert (target["status"], target["reason"]) == (None, "connection refused")
    assert send(api_client, "post", "/metrics/circuit-breakers/nothing/probe").status_code == 404
