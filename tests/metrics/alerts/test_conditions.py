"""Which conditions hold in a snapshot."""

from collections import Counter

import pytest
from msgspec.structs import replace

from metrics.alerts.conditions import Certificate, Failing, GatewaySnapshot, Quota, firing
from metrics.alerts.traffic import tally_of_requests
from metrics.counting.histogram import bucket
from metrics.objectives.budgets import Burn, ObjectiveStatus
from resilience.breaker.machine import Snapshot as Circuit
from resilience.breaker.machine import State
from routing.alerts.policy import Alert, ConditionKind
from routing.configuration.alert_conditions import condition
from routing.router.policy import Target
from routing.router.table import Service

NOW = 1_700_000_040.0
MINUTE = int(NOW // 60) * 60
CRM = Service("crm", (Target("http://127.0.0.1:1"), Target("http://127.0.0.1:2")))


def held(text: str, snapshot: GatewaySnapshot, *services: str) -> list[tuple[str, str]]:
    alert = Alert(name="a", conditions=(condition(text),), services=services)
    return [(found.subject, found.summary) for found in firing([alert], snapshot)]


def traffic(
    *, ok: int = 0, bad: int = 0, seconds: float = 0.01, hits: int = 0, misses: int = 0, age: int = 0
) -> GatewaySnapshot:
    fields = Counter({"requests|GET|2xx|/": ok, "requests|GET|5xx|/": bad, f"duration|{bucket(seconds)}": ok + bad})
    fields += Counter({"cache|HIT": hits, "cache|MISS": misses})
    minutes = {MINUTE - 60 * age: tally_of_requests(fields)}
    return GatewaySnapshot(at=NOW, services={"crm": CRM}, minutes={"crm": minutes})


@pytest.mark.parametrize(
    ("state", "holds"),
    [
        *((State.OPEN, True), (State.FORCED_OPEN, True), (State.HALF_OPEN, True)),
        *((State.CLOSED, False), (State.DISABLED, False)),
    ],
)
def test_a_circuit_is_open_until_it_is_closed(state: State, holds: bool) -> None:
    found = held("circuit.open", GatewaySnapshot(at=NOW, services={"crm": CRM}, circuits={"crm": Circuit(state=state)}))
    assert bool(found) is holds


@pytest.mark.parametrize(
    ("text", "snapshot", "holds"),
    [
        ("error_rate > 5% for 5m", traffic(ok=90, bad=10), True),
        ("error_rate > 5% for 5m", traffic(ok=96, bad=4), False),
        ("error_rate > 5% for 5m", traffic(ok=4, bad=10), False),  # fewer than the minimum of 20
        ("error_rate > 5% for 1m", traffic(ok=90, bad=10, age=3), False),
        ("error_rate > 5% for 5m", traffic(ok=90, bad=10, age=3), True),  # silence is no recovery
        ("p99 > 2s for 5m", traffic(ok=100, seconds=3), True),
        ("p99 > 2s for 5m", traffic(ok=100, seconds=1.5), False),
        ("hit_rate < 40%", traffic(ok=100, hits=30, misses=70), True),
        ("hit_rate < 40%", traffic(ok=100, hits=50, misses=50), False),
        ("hit_rate < 40%", traffic(ok=100), False),  # nothing was looked up
    ],
)
def test_a_condition_on_traffic_holds_above_its_threshold(text: str, snapshot: GatewaySnapshot, holds: bool) -> None:
    assert bool(held(text, snapshot)) is holds


def test_what_is_said_of_traffic() -> None:
    assert held("error_rate > 5% for 5m", traffic(ok=90, bad=10)) == [
        ("crm", "10.0% of responses are errors (over 5 min)")
    ]
    assert held("hit_rate < 40%", traffic(ok=100, hits=30, misses=70)) == [("crm", "the hit rate is 30% (over 5 min)")]


def test_a_target_that_is_down_is_named() -> None:
    unhealthy = {"crm": {"http://127.0.0.1:2": "down"}}
    snapshot = GatewaySnapshot(at=NOW, services={"crm": CRM}, unhealthy=unhealthy)
    [(subject, summary)] = held("target.down", snapshot)
    assert (subject, summary) == ("crm", "1 of 2 targets without calls: 127.0.0.1:2 down")
    assert held("target.down", snapshot, "billing") == []


def test_services_that_cannot_be_loaded() -> None:
    broken = Service("crm", (), faults=("targets: required",))
    assert held("service.out", GatewaySnapshot(at=NOW, services={"crm": broken}))
    assert held("service.out", GatewaySnapshot(at=NOW, services={"crm": CRM})) == []


def test_quotas_certificates_and_webhooks() -> None:
    snapshot = GatewaySnapshot(
        at=NOW,
        quotas=(Quota("plan-month of consumer acme", 80, NOW + 1), Quota("plan-month of consumer zoo", 100, NOW + 1)),
        certificates=(
            Certificate("a:443", "crm", NOW + 13 * 86_400),
            Certificate("b:443", "crm", NOW + 15 * 86_400),
            Certificate("CLIENT_CA CN=x", "", NOW - 1),
        ),
        webhooks=(Failing("slack", "crm", "2 deliveries failed"), Failing("stripe", "", "1 delivery failed")),
    )
    assert [subject for subject, _ in held("quota.80", snapshot)] == [quota.name for quota in snapshot.quotas]
    zoo = "plan-month of consumer zoo"
    assert held("quota.100", snapshot) == [(zoo, f"the quota {zoo} is used up")]
    assert held("certificate.14d", snapshot) == [
        ("a:443", "the certificate of a:443 ends in 13.0 days"),
        ("CLIENT_CA CN=x", "the certificate of CLIENT_CA CN=x has ended"),
    ]
    assert [subject for subject, _ in held("certificate.14d", snapshot, "crm")] == ["a:443"]
    assert [subject for subject, _ in held("webhook.failing", snapshot)] == ["slack", "stripe"]


def test_a_budget_and_a_burn_rate_hold_above_their_thresholds() -> None:
    status = ObjectiveStatus(
        name="availability",
        text="99.9% availability",
        target=0.999,
        days=30,
        total=1_000,
        bad=1,
        budget_used=0.85,
        burn_rates={},
        fast_burn=Burn(20.0, "1h"),
    )
    snapshot = GatewaySnapshot(at=NOW, services={"crm": CRM}, objectives={"crm": (status,)})
    assert held("budget.80", snapshot) == [
        ("crm availability", "85% of the error budget of 99.9% availability is used: 1 of 1000 requests missed it")
    ]
    assert held("budget.90", snapshot) == []
    [(_, summary)] = held("burn_rate.fast", snapshot)
    assert "20 times as fast as it lasts, over 1h" in summary
    assert held("burn_rate.slow", snapshot) == []
    outage = replace(status, fast_burn=Burn(1 / (1 - 0.999), "1h"))
    [(_, summary)] = held(
        "burn_rate.fast", GatewaySnapshot(at=NOW, services={"crm": CRM}, objectives={"crm": (outage,)})
    )
    assert "1000 times as fast" in summary


def test_what_could_not_be_read_holds_nothing() -> None:
    snapshot = traffic(ok=0, bad=100)
    unread = GatewaySnapshot(
        at=NOW, services=snapshot.services, minutes=snapshot.minutes, unknown=frozenset(ConditionKind)
    )
    assert held("error_rate > 5%", snapshot)
    assert held("error_rate > 5%", unread) == []
