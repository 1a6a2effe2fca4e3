"""What the dashboard's pages receive each second, and how much it is."""

import json

from metrics.dashboard import feed
from metrics.incidents.incident import Incident, Signal, SignalKind, incident_of
from metrics.read_models import CircuitStatus, ServiceStatus, Summary, TargetStatus, TrafficStats

BUSY = TrafficStats(
    requests=123_456,
    errors=1_234,
    status_classes={"2xx": 120_000, "4xx": 2_222, "5xx": 1_234},
    hits=45_678,
    misses=12_345,
    hit_rate=78.72,
    p50=0.012345678,
    p95=0.123456789,
    p99=1.23456789,
    saved_calls=45_678,
    saved_seconds=1_234.567,
    saved_usd=12.345678,
)
SUMMARY = Summary(at=1.7e9, connected=True, per_second=1_234.5, open_circuits=("crm",), total=BUSY, recent=BUSY)


def service(number: int) -> ServiceStatus:
    name = f"a-service-{number:03}"
    circuit = CircuitStatus(service=name, state="CLOSED", failures=1_234, successes=123_456, total_requests=124_690)
    return ServiceStatus(
        name=name,
        enabled=True,
        targets=(target(number), target(number, "ejected")),
        circuit=circuit,
        total=BUSY,
        recent=BUSY,
        sparkline=(4_321,) * 28 + (5, 6),
        labels={"team": f"team-{number % 7}"},
    )


def target(number: int, condition: str = "up") -> TargetStatus:
    return TargetStatus(url=f"http://backend-{number}.internal:8080/{condition}", condition=condition)


def listed(services: list[ServiceStatus]) -> feed.ServiceStatuses:
    by_name = {each.name: each for each in services}
    return feed.ServiceStatuses(list(by_name), by_name.__getitem__)


def incident(name: str) -> Incident:
    found = incident_of(
        name, [Signal(kind=SignalKind.CIRCUIT, text="the circuit is open: 5 failures", since=1.7e9)], 1.7e9
    )
    assert found is not None
    return found


def test_few_services_are_sent_each_time() -> None:
    message = feed.update(SUMMARY, listed([service(1), service(2)]), [], 7, "a-service-001")
    document = json.loads(message.text)
    assert (document["is_complete"], document["version"], message.last) == (True, 7, "")
    assert document["build"] == ""  # as static files are not collected
    assert {row["name"] for row in document["services"]} == {"a-service-001", "a-service-002"}
    row = document["services"][0]
    assert (row["labels"], row["unwell"], len(row["sparkline"])) == ({"team": "team-1"}, {"1": ["ejected", ""]}, 30)
    assert (row["recent"]["client_errors"], row["recent"]["p50"], row["circuit"]["state"]) == (2_222, 0.01235, "CLOSED")


def test_200_busy_services_take_turns_in_less_than_20_kb_a_second() -> None:
    services, after = [service(number) for number in range(200)], ""
    incidents = [incident(f"a-service-{number:03}") for number in (7, 150, 3, 4, 5, 6, 8)]
    seen: list[str] = []
    messages = 0
    while len(set(seen)) < 200:
        message = feed.update(SUMMARY, listed(services), incidents, 1, after)
        document = json.loads(message.text)
        assert len(message.text) < 20_000
        names = [row["name"] for row in document["services"]]
        assert {"a-service-007", "a-service-150"} <= set(names)
        assert (len(document["incidents"]), document["more_incidents"]) == (feed.MAX_INCIDENTS, 2)
        row = document["services"][0]
        assert "targets" not in row
        assert (row["tone"], row["unwell"], row["sparkline"]) == ("bad", {"1": ["ejected", ""]}, [5, 6])
        seen, after, messages = [*seen, *names], message.last, messages + 1
        assert messages <= 7
    assert not document["is_complete"]


def test_a_row_that_is_larger_than_a_message_is_sent_alone() -> None:
    large = service(1)
    fields = {name: getattr(large, name) for name in large.__struct_fields__}
    large = ServiceStatus(**{**fields, "faults": tuple(f"fault {number} of many" for number in range(1_000))})
    first = feed.update(SUMMARY, listed([service(0), large, service(2)]), [], 1, "a-service-000")
    assert [row["name"] for row in json.loads(first.text)["services"]] == ["a-service-001"]
    second = feed.update(SUMMARY, listed([service(0), large, service(2)]), [], 1, first.last)
    assert [row["name"] for row in json.loads(second.text)["services"]] == ["a-service-002", "a-service-000"]
