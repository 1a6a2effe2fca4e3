"""The metrics API, as contract section 7 has it."""

import random
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from metrics.api.access import WRITE_RATE
from metrics.models import Operation
from resilience.breaker.machine import State
from resilience.breaker.policy import BreakerPolicy
from routing.router.policy import RoutePolicy
from tests.metrics.events import at_random, finished
from tests.metrics.panel import QUICK, SHARED, Panel, ok

pytestmark = pytest.mark.django_db

STATS = {"hits", "misses", "hitRate"}
CIRCUIT = {"state", "failures", "successes", "totalRequests"}
READS = ["/metrics", "/metrics/cache", "/metrics/circuit-breakers", "/metrics/history"]
WRITES = [
    ("post", "/metrics/cache/reset"),
    ("delete", "/metrics/cache"),
    ("delete", "/metrics/cache/crm"),
    ("post", "/metrics/circuit-breakers/reset"),
    ("post", "/metrics/circuit-breakers/crm/reset"),
    ("post", "/metrics/circuit-breakers/crm/open"),
    ("post", "/metrics/circuit-breakers/crm/disable"),
    ("post", "/metrics/cache/warm"),
]
EVERY = [*(("get", path) for path in READS), *WRITES]


def send(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return getattr(client, method)(path, body, content_type="application/json", headers=headers)


# who may


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_without_a_credential_it_is_401(panel: Panel, method: str, path: str) -> None:
    answer = send(Client(), method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer["WWW-Authenticate"] == 'Bearer realm="gateway"'
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-ID"]


@pytest.mark.parametrize(("method", "path"), EVERY)
@pytest.mark.parametrize("given", ["Basic YTpi", "Bearer junk", "Bearer gw_aaaaaaaa_" + "x" * 43])
def test_with_a_bad_credential_it_is_401(panel: Panel, method: str, path: str, given: str) -> None:
    assert send(Client(), method, path, Authorization=given).status_code == 401


@pytest.mark.parametrize(("method", "path"), EVERY)
@pytest.mark.parametrize("key", ["every", "none"])
def test_a_key_that_lacks_the_scope_gets_403(panel: Panel, method: str, path: str, key: str) -> None:
    answer = send(Client(), method, path, **{"X-API-Key": panel.keys[key]})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", READS)
def test_the_scope_to_write_does_not_read(panel: Panel, path: str) -> None:
    assert send(Client(), "get", path, **{"X-API-Key": panel.keys["write"]}).status_code == 403
    assert send(Client(), "get", path, Authorization=f"Bearer {panel.keys['read']}").status_code == 200


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_the_scope_to_read_does_not_write(panel: Panel, method: str, path: str) -> None:
    panel.serve(ok())
    assert send(Client(), method, path, **{"X-API-Key": panel.keys["read"]}).status_code == 403
    assert send(Client(), method, path, **{"X-API-Key": panel.keys["write"]}).status_code in (200, 202)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_sessions_write_without_its_csrf_token_is_403(panel: Panel, staff: Client, method: str, path: str) -> None:
    panel.serve(ok())
    answer = send(staff, method, path)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "CSRF" in answer.json()["detail"]
    assert not Operation.objects.exists()
    staff.get("/admin/")
    staff.cookies["csrftoken"] = "a" * 32
    assert send(staff, method, path, **{"X-CSRFToken": "a" * 32}).status_code in (200, 202)


def test_a_session_that_is_not_staffs_is_403(panel: Panel) -> None:
    client = Client()
    client.force_login(User.objects.create_user("eve"))
    assert client.get("/metrics").status_code == 403


@pytest.mark.parametrize("path", READS)
def test_staff_read_by_their_session(panel: Panel, staff: Client, path: str) -> None:
    assert staff.get(path).status_code == 200
    assert staff.get(f"{path}/").status_code == 200


# what is answered


@pytest.mark.parametrize(
    ("method", "path", "keys"),
    [
        ("get", "/metrics", {"timestamp", "cache", "circuitBreakers", "services"}),
        ("get", "/metrics/cache", {"connected", "stats", "entries", "bytes", "byService"}),
        ("post", "/metrics/cache/reset", {"message"}),
        ("delete", "/metrics/cache", {"keysDeleted"}),
        ("delete", "/metrics/cache/crm", {"service", "keysDeleted"}),
        ("get", "/metrics/circuit-breakers", {"stats", "openCount"}),
        ("post", "/metrics/circuit-breakers/reset", {"message", "reset"}),
        ("post", "/metrics/circuit-breakers/crm/reset", {"service", "state"}),
        ("post", "/metrics/circuit-breakers/crm/open", {"service", "state"}),
        ("post", "/metrics/circuit-breakers/crm/disable", {"service", "state"}),
        ("post", "/metrics/cache/warm", {"warmed", "failed"}),
        ("get", "/metrics/history", {"service", "step", "points"}),
    ],
)
def test_the_keys_are_the_contracts(panel: Panel, program: Client, method: str, path: str, keys: set[str]) -> None:
    panel.serve(ok())
    for slash in ("", "/"):
        answer = send(program, method, path + slash)
        assert set(answer.json()) == keys
        assert answer.status_code == (202 if path.endswith("warm") else 200)
        assert answer["Cache-Control"] == "private, no-store"


def test_the_overviews_inner_keys_are_the_contracts(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    seen = program.get("/metrics").json()
    assert set(seen["cache"]) == {"connected", "stats"}
    assert set(seen["cache"]["stats"]) == STATS
    assert set(seen["circuitBreakers"]) == {"stats", "openCount"}
    assert set(seen["circuitBreakers"]["stats"]["crm"]) == CIRCUIT
    assert seen["timestamp"] == "2023-11-14T22:14:00.000Z"


@pytest.mark.parametrize("path", ["/metrics/cache/nope", "/metrics/circuit-breakers/nope/open"])
def test_an_unknown_service_is_a_problem(panel: Panel, program: Client, path: str) -> None:
    answer = send(program, "delete" if "cache" in path else "post", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_service")
    assert not Operation.objects.exists()


def test_a_method_that_is_not_there_is_a_problem(panel: Panel, program: Client) -> None:
    answer = send(program, "put", "/metrics/cache")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, DELETE, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/metrics/circuit-breakers/crm/open", {"ttl": -1}),
        ("/metrics/circuit-breakers/crm/open", {"ttl": "soon"}),
        ("/metrics/circuit-breakers/crm/open", {"reason": "x" * 501}),
        ("/metrics/circuit-breakers/crm/open", [1]),
        ("/metrics/cache/warm", {"paths": "all"}),
        ("/metrics/cache/warm", {"paths": ["/"] * 101}),
        ("/metrics/cache/warm", {"dry_run": "perhaps"}),
        ("/metrics/cache/warm?dry_run=perhaps", {}),
    ],
)
def test_a_body_that_makes_no_sense_is_a_problem(panel: Panel, program: Client, path: str, body: Any) -> None:
    panel.serve(ok())
    answer = send(program, "post", path, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_body_that_is_no_json_is_a_problem(panel: Panel, program: Client) -> None:
    answer = program.post("/metrics/cache/warm", b"{", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_writes_are_limited_and_reads_are_not(panel: Panel, program: Client) -> None:
    limit = int(WRITE_RATE.partition("/")[0])
    assert {send(program, "post", "/metrics/cache/reset").status_code for _ in range(limit)} == {200}
    refused = send(program, "post", "/metrics/cache/reset")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused["Retry-After"] == "60"
    assert program.get("/metrics").status_code == 200


# the cache


def test_hits_and_misses_are_exact_and_reset_to_zero(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    for _ in range(18):
        assert panel.ask("/api/v1/crm/contacts/1") == 200
    seen = program.get("/metrics/cache").json()
    assert seen["stats"] == {"hits": 17, "misses": 1, "hitRate": 94.44}
    assert (seen["connected"], seen["entries"]) == (True, 1)
    assert seen["byService"]["crm"]["bytes"] == seen["bytes"] > 0
    send(program, "post", "/metrics/cache/reset")
    after = program.get("/metrics/cache").json()
    assert after["stats"] == {"hits": 0, "misses": 0, "hitRate": 0.0}
    assert after["entries"] == 1
    assert panel.ask("/api/v1/crm/contacts/1") == 200
    assert program.get("/metrics").json()["cache"]["stats"] == {"hits": 1, "misses": 0, "hitRate": 100.0}


def test_a_tag_is_taken_back_after_a_dry_run(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    for number in range(3):
        panel.ask(f"/api/v1/crm/contacts/{number}")
    path = "/metrics/cache/crm?tag=contacts"
    assert send(program, "delete", f"{path}&dry_run=1").json() == {"service": "crm", "keysDeleted": 3}
    assert not Operation.objects.exists()
    assert send(program, "delete", "/metrics/cache/crm?tag=other").json()["keysDeleted"] == 0
    assert send(program, "delete", path).json() == {"service": "crm", "keysDeleted": 3}
    assert program.get("/metrics/cache").json()["entries"] == 0


def test_everything_is_emptied(panel: Panel, program: Client) -> None:
    for name in ("crm", "mail"):
        panel.serve(ok(), name=name)
    for name in ("crm", "mail"):
        panel.ask(f"/api/v1/{name}/contacts/1")
    assert send(program, "delete", "/metrics/cache").json() == {"keysDeleted": 2}


# circuits


def test_a_circuit_is_seen_to_open_and_is_reset(panel: Panel, program: Client) -> None:
    failing = RoutePolicy(timeout=QUICK, cache=None, breaker=BreakerPolicy(failure_threshold=5))
    panel.serve(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", policy=failing)
    assert [panel.ask("/api/v1/crm/x") for _ in range(7)] == [503] * 7
    seen = program.get("/metrics/circuit-breakers").json()
    assert seen == {
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
    reset = send(program, "post", "/metrics/circuit-breakers/reset").json()
    assert reset == {"message": "1 circuit closed", "reset": ["crm"]}
    assert program.get("/metrics").json()["circuitBreakers"]["openCount"] == 0


def test_a_circuit_is_held_open_for_a_time_with_a_reason(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    body = {"ttl": 30, "reason": "they move house"}
    answer = send(program, "post", "/metrics/circuit-breakers/crm/open", body)
    assert answer.json() == {"service": "crm", "state": "FORCED_OPEN"}
    assert "nextAttemptTime" not in program.get("/metrics/circuit-breakers").json()["stats"]["crm"]
    assert panel.ask("/api/v1/crm/x") == 503
    panel.clock.advance(31)
    assert panel.ask("/api/v1/crm/x") == 200
    done = Operation.objects.get()
    assert (done.actor, done.action, done.service) == (f"key:{panel.keys['both'].split('_')[1]}", "circuit.open", "crm")
    assert (done.before, done.request_id) == ({"state": "CLOSED"}, "req-1")
    assert done.after == {"state": "FORCED_OPEN", "until": panel.clock() - 1, "reason": "they move house"}


@pytest.mark.parametrize(("word", "state"), [("disable", State.DISABLED), ("reset", State.CLOSED)])
def test_a_circuit_is_disabled_and_reset(panel: Panel, program: Client, word: str, state: State) -> None:
    panel.serve(ok())
    assert send(program, "post", f"/metrics/circuit-breakers/crm/{word}").json()["state"] == state


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_is_on_record(panel: Panel, program: Client, method: str, path: str) -> None:
    panel.serve(ok())
    panel.run(panel.breakers.of("crm", SHARED.breaker).override(State.FORCED_OPEN))
    send(program, method, path)
    done = Operation.objects.get()
    assert done.actor.startswith("key:")
    assert done.request_id == "req-1"


def test_a_reset_that_found_nothing_to_close_is_on_record(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    assert send(program, "post", "/metrics/circuit-breakers/reset").json()["reset"] == []
    assert Operation.objects.get().after == {"reset": []}


def test_a_member_of_staff_is_on_record_by_name(panel: Panel, staff: Client) -> None:
    staff.cookies["csrftoken"] = "a" * 32
    send(staff, "post", "/metrics/cache/reset", **{"X-CSRFToken": "a" * 32})
    assert Operation.objects.get().actor == "staff:ada"


# numbers


def test_what_was_counted_is_what_was_sent(panel: Panel, program: Client) -> None:
    chance = random.Random(5)
    events = [at_random(chance) for _ in range(2_000)]
    for event in events:
        panel.observer.finished(event)
    services = program.get("/metrics").json()["services"]
    assert sum(one["requests"] for one in services.values()) == 2_000
    for name, one in services.items():
        mine = [event for event in events if event.service == name]
        assert one["requests"] == len(mine) == sum(one["statusClasses"].values())
        assert one["errors"] == sum(event.status >= 500 for event in mine)
        assert one["misses"] == sum(event.cache == "MISS" for event in mine)
        assert one["aborted"] == sum(bool(event.aborted) for event in mine)
    assert "" in services


def test_every_way_to_be_refused_is_counted_by_a_real_gateway(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    asked = ["/api/v1/crm/contacts/1", "/api/v1/crm/contacts/1", "/api/v1/nope/x", "/api/v1/", "/api/v1/crm/other"]
    for path in asked:
        panel.ask(path)
    assert Client().get("/api/v1/crm/x").status_code == 401
    services = program.get("/metrics").json()["services"]
    assert {name: one["requests"] for name, one in services.items()} == {"": 2, "crm": 4}
    assert services["crm"]["statusClasses"] == {"2xx": 3, "4xx": 1}
    assert services["crm"]["saved"]["usd"] == 0.5


def test_history_has_every_step_and_the_right_numbers(panel: Panel, program: Client) -> None:
    panel.serve(ok())
    start = int(panel.clock())
    for minute in (0, 0, 2):
        panel.observer.finished(finished(at=start + 60 * minute, cache="HIT", duration=0.02))
    panel.observer.finished(finished(at=start, service="", status=404))
    asked: dict[str, str | int] = {"service": "crm", "from": start, "to": start + 240, "step": 60}
    answer = program.get("/metrics/history", asked)
    points = answer.json()["points"]
    assert [point["requests"] for point in points] == [2, 0, 1, 0]
    assert points[0]["time"] == "2023-11-14T22:14:00.000Z"
    assert points[0]["latency"]["p50"] == pytest.approx(20, rel=0.05)
    assert points[1]["latency"] == {"p50": None, "p95": None, "p99": None}
    asked = {"from": "2023-11-14T22:00:00Z", "to": start + 240, "step": 3600}
    whole = program.get("/metrics/history", asked).json()
    assert (whole["step"], [point["requests"] for point in whole["points"]]) == (3600, [4])


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"},
        {"from": 100, "to": 50},
        {"step": 1},
        {"from": 0, "step": 60, "to": 10**9},
        {"to": "1e999"},
    ],
)
def test_a_history_that_makes_no_sense_is_a_problem(panel: Panel, program: Client, query: dict[str, Any]) -> None:
    assert program.get("/metrics/history", query).json()["code"] == "bad_request"
    assert program.get("/metrics/history", {"service": "nope"}).status_code == 404
