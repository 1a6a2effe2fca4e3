"""Circuits in the metrics API, and the audit log of its writes."""

import pytest
from django.test import Client

from metrics.models import Operation
from resilience.breaker.driver import Breakers
from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from resilience.outbound.policy import OutboundPolicy
from resilience.ratelimit.policy import RatePolicy
from routing.models import Service
from routing.router.policy import RoutePolicy
from tests.metrics.api.endpoints import WRITES, send
from tests.metrics.harness import QUICK, SHARED, Harness, ok

pytestmark = pytest.mark.django_db


def test_an_open_circuit_is_listed_and_can_be_reset(harness: Harness, api_client: Client) -> None:
    failing = RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=5))
    harness.serve(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", policy=failing)
    assert [harness.request("/api/v1/crm/x") for _ in range(7)] == [503] * 7
    circuits = api_client.get("/metrics/circuit-breakers").json()
    assert circuits == {
        "stats": {
            "crm": {
                "state": "OPEN",
                "failures": 5,
                "successes": 0,
                "totalRequests": 7,
                "nextAttemptTime": "2023-11-14T22:15:00.000Z",
            }
        },
        "openCount": 1,
    }
    reset = send(api_client, "post", "/metrics/circuit-breakers/reset").json()
    assert reset == {"message": "1 circuit closed", "reset": ["crm"]}
    assert api_client.get("/metrics").json()["circuitBreakers"]["openCount"] == 0


def test_without_redis_a_change_of_a_circuit_says_that_other_workers_have_missed_it(
    harness: Harness, api_client: Client, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.serve(ok())
    opened = {"service": "crm", "state": "FORCED_OPEN"}
    path, row = "/metrics/circuit-breakers/crm/open", Service.objects.create(name="crm")
    assert send(api_client, "post", path).json() == opened
    monkeypatch.setattr(Breakers, "degraded", True)
    assert send(api_client, "post", path).json() == {**opened, "isShared": False}
    form = {"action": "reset", "_selected_action": [row.pk]}
    page = admin_client.post("/admin/metrics/circuit/", form, follow=True).content.decode()
    assert "only one of the workers has changed" in page
    reset = send(api_client, "post", "/metrics/circuit-breakers/reset").json()
    assert reset == {"message": "0 circuits closed", "reset": [], "isShared": False}


def test_a_hold_off_is_listed_explained_and_lifted_by_a_reset(harness: Harness, api_client: Client) -> None:
    limited = b"HTTP/1.1 429 X\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"
    origin = harness.serve(limited, ok(), policy=RoutePolicy(timeout=QUICK, cache=None))
    assert [harness.request("/api/v1/crm/x") for _ in range(3)] == [429] * 3
    (circuit,) = api_client.get("/metrics/circuit-breakers").json()["stats"].values()
    held = {"calls": "GET /x with one credential", "until": "2023-11-14T22:14:30.000Z"}
    assert (circuit["state"], circuit["holdOffs"], circuit["failures"]) == ("CLOSED", [held], 0)
    explained = send(api_client, "post", "/api/explain", {"path": "/api/v1/crm/x"}).json()
    assert explained["circuit"]["held_off"] == {"GET /x with one credential": 30.0}
    page = api_client.get("/metrics", headers={"Accept": "text/plain"}).content.decode()
    assert 'gateway_hold_offs_total{event="begun",service="crm"} 1.0' in page
    assert 'gateway_outcomes_total{outcome="limited",service="crm"} 1.0' in page
    assert send(api_client, "post", "/metrics/circuit-breakers/reset").json()["reset"] == ["crm"]
    after: dict[str, int] = Operation.objects.get().after or {}
    assert after["holdOffsLifted"] == 1
    assert "holdOffs" not in api_client.get("/metrics/circuit-breakers").json()["stats"]["crm"]
    assert (harness.request("/api/v1/crm/x"), len(origin.requests)) == (200, 2)


def test_what_remains_of_the_backends_limits_is_shown(harness: Harness, api_client: Client) -> None:
    response = b"HTTP/1.1 200 X\r\nX-RateLimit-Remaining-Tokens: 77\r\nContent-Length: 0\r\n\r\n"
    outbound = OutboundPolicy(rate=RatePolicy(1_000, 60))
    harness.serve(response, policy=RoutePolicy(timeout=QUICK, cache=None, outbound=outbound))
    assert harness.request("/api/v1/crm/x") == 200
    (circuit,) = api_client.get("/metrics/circuit-breakers").json()["stats"].values()
    assert circuit["quotas"] == {"tokens": 77}
    page = api_client.get("/metrics", headers={"Accept": "text/plain"}).content.decode()
    assert 'gateway_backend_quota_remaining{quota="tokens",service="crm"} 77.0' in page


def test_a_circuit_is_forced_open_for_a_time_with_a_reason(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    body = {"ttl": 30, "reason": "they move house"}
    response = send(api_client, "post", "/metrics/circuit-breakers/crm/open", body)
    assert response.json() == {"service": "crm", "state": "FORCED_OPEN"}
    assert "nextAttemptTime" not in api_client.get("/metrics/circuit-breakers").json()["stats"]["crm"]
    assert harness.request("/api/v1/crm/x") == 503
    harness.clock.advance(31)
    assert harness.request("/api/v1/crm/x") == 200
    entry = Operation.objects.get()
    assert (entry.actor, entry.action, entry.service) == (
        f"key:{harness.keys['both'].split('_')[1]}",
        "circuit.open",
        "crm",
    )
    assert (entry.before, entry.request_id) == ({"state": "CLOSED"}, "req-1")
    assert entry.after == {"state": "FORCED_OPEN", "until": harness.clock() - 1, "reason": "they move house"}


@pytest.mark.parametrize(("word", "state"), [("disable", State.DISABLED), ("reset", State.CLOSED)])
def test_a_circuit_is_disabled_and_reset(harness: Harness, api_client: Client, word: str, state: State) -> None:
    harness.serve(ok())
    assert send(api_client, "post", f"/metrics/circuit-breakers/crm/{word}").json()["state"] == state


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_is_recorded(harness: Harness, api_client: Client, method: str, path: str) -> None:
    harness.serve(ok())
    harness.run(harness.breakers.of("crm", SHARED.breaker).override(State.FORCED_OPEN))
    send(api_client, method, path)
    entry = Operation.objects.get()
    assert entry.actor.startswith("key:")
    assert entry.request_id == "req-1"


def test_a_reset_without_open_circuits_is_recorded(harness: Harness, api_client: Client) -> None:
    harness.serve(ok())
    assert send(api_client, "post", "/metrics/circuit-breakers/reset").json()["reset"] == []
    assert Operation.objects.get().after == {"reset": []}


def test_a_staff_users_operation_is_recorded_with_the_username(harness: Harness, staff_client: Client) -> None:
    staff_client.cookies["csrftoken"] = "a" * 32
    send(staff_client, "post", "/metrics/cache/reset", **{"X-CSRFToken": "a" * 32})
    assert Operation.objects.get().actor == "staff:ada"
