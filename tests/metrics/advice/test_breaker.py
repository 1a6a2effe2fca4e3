"""What a circuit breaker would have done: the simulation equals calls that are played one by one."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from html import unescape

import pytest
from django.test import Client

from metrics.advice import circuits
from metrics.advice.breaker import Minute, SimulationResult, assumed, simulate
from metrics.models import Aggregate, CircuitChange, TimeResolution
from resilience.breaker import machine
from resilience.breaker.machine import Outcome, Permit, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.rate import CallRate
from tests.metrics.advice.world import configure
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

POLICY = BreakerPolicy(failure_threshold=5, window=60, open_for=60, success_threshold=2)


@dataclass
class Played:
    opened: int = 0
    refused: int = 0
    lost: int = 0
    failed: int = 0


def play(minutes: list[Minute], policy: BreakerPolicy) -> Played:
    """Every call through the machine, as a single worker would make it."""
    snapshot, rate, played = Snapshot(), CallRate(), Played()
    for calls in assumed(minutes):
        for place in range(calls.number):
            now, has_failed = calls.time(place), calls.has_failed(place)
            snapshot, admission = machine.admit(snapshot, policy, now, "w")
            if not isinstance(admission, Permit):
                played.refused += 1
                played.lost += not has_failed
                continue
            before = snapshot.state
            played.failed += has_failed
            outcome = Outcome.FAILURE if has_failed else Outcome.SUCCESS
            snapshot = machine.record(snapshot, policy, admission, outcome, now)
            if policy.failure_rate is not None and before is State.CLOSED and rate.count(has_failed, policy, now):
                snapshot = machine.trip(snapshot, policy, admission, "rate", now)
            if snapshot.state is not State.CLOSED:
                rate.clear()
            played.opened += snapshot.state is State.OPEN
    return played


@pytest.mark.parametrize("seed", range(30))
def test_it_equals_playing_each_call(seed: int) -> None:
    rng = random.Random(seed)
    minutes, at = [], 0
    for _ in range(rng.randrange(1, 60)):
        at += 60 * rng.choice([1, 1, 1, 5])
        total = rng.choice([0, 1, 3, 20, 200])
        failures = rng.choice([0, 0, 1, total // 10, total])
        minutes.append(Minute(at, max(0, total - failures), min(failures, total), rng.choice([0, 0, 0, 7])))
    policy = BreakerPolicy(
        failure_threshold=rng.choice([1, 3, 10]),
        window=rng.choice([10.0, 60.0, 300.0]),
        open_for=rng.choice([5.0, 60.0, 90.0]),
        success_threshold=rng.choice([1, 2, 5]),
        open_factor=rng.choice([1.0, 2.0]),
    )
    found, played = simulate(minutes, policy), play(minutes, policy)
    assert (found.opened, found.refused, found.lost, found.failed) == (
        played.opened,
        played.refused,
        played.lost,
        played.failed,
    )


def test_a_lower_threshold_opens_earlier_and_a_shorter_open_time_loses_less() -> None:
    outage = [Minute(at, 0, 60) for at in range(60, 360, 60)]
    well = [Minute(at, 60, 0) for at in (0, *range(360, 900, 60))]
    minutes = sorted([*outage, *well], key=lambda each: each.at)
    present = simulate(minutes, POLICY)
    early = simulate(minutes, BreakerPolicy(failure_threshold=2, window=60, open_for=60))
    short = simulate(minutes, BreakerPolicy(failure_threshold=5, window=60, open_for=10))
    assert early.failed < present.failed
    assert short.refused < present.refused
    assert short.failed > present.failed
    assert present.failed + present.refused - present.lost == 300


def test_a_failure_rate_opens_too() -> None:
    minutes = [Minute(at, 80, 20) for at in range(0, 600, 60)]
    policy = BreakerPolicy(failure_threshold=1_000, failure_rate=0.15, minimum_calls=50, window=60, open_for=30)
    found, played = simulate(minutes, policy), play(minutes, policy)
    assert found.opened == pytest.approx(played.opened, abs=1)
    assert simulate(minutes, BreakerPolicy(failure_threshold=1_000, failure_rate=0.5, window=60)).opened == 0


def test_refused_calls_are_taken_to_have_failed_as_the_others() -> None:
    [alone] = assumed([Minute(0, 0, 0, 10)])
    assert (alone.number, alone.failures) == (10, 10)
    first, second = assumed([Minute(0, 3, 1, 4), Minute(60, 0, 0, 8)])
    assert (first.number, first.failures) == (8, 2)
    assert (second.number, second.failures) == (8, 2)


def test_very_many_calls_are_played_at_once() -> None:
    """Two days of 100,000 calls a minute, of which a few fail."""
    minutes = [Minute(at, 99_998, 2) for at in range(0, 48 * 3_600, 60)]
    found = simulate(minutes, BreakerPolicy(failure_threshold=100, window=60))
    assert found == SimulationResult(opened=0, open_seconds=0.0, refused=0, lost=0, failed=5_760)


@pytest.fixture
def outage(harness: Harness) -> None:
    """Ten minutes of failures, an hour ago, in which the circuit opened twice."""
    configure(harness)
    for number in range(120):
        is_down = 60 <= number < 70
        Aggregate.objects.create(
            resolution=TimeResolution.MINUTE,
            start=int(NOW) // 60 * 60 - 60 * number,
            service="crm",
            counts={"circuit|failure": 30, "circuit|refused": 30} if is_down else {"circuit|success": 60},
        )
    for number in (69, 65):
        at = datetime.fromtimestamp(NOW - 60 * number, UTC)
        CircuitChange.objects.create(at=at, service="crm", before="CLOSED", after="OPEN")


@pytest.mark.django_db
def test_the_page_compares_other_settings_and_leads_to_a_draft(
    harness: Harness, staff_client: Client, outage: None
) -> None:
    assert "has opened 2 times in the last two days" in staff_client.get("/dashboard/advice/").content.decode()
    page = unescape(staff_client.get("/dashboard/advice/breaker/?service=crm").content.decode())
    assert "As it was" in page
    assert "6,900 calls to crm" in page
    assert "Draft this change" not in page
    query = "service=crm&failure_threshold=3&window=60s&open_for=90s"
    page = unescape(staff_client.get(f"/dashboard/advice/breaker/?{query}").content.decode())
    assert "Other settings, simulated" in page
    link = "/dashboard/advice/draft/?change=breaker&service=crm&failure_threshold=3&open_for=90s"
    assert f'href="{link}"' in page
    shown = staff_client.get(link).content.decode()
    assert "failure_threshold: 3" in shown
    assert "open_for: 90s" in shown


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("service=nobody", "There is no such service."),
        ("service=crm&window=soon", "A duration"),
        ("service=crm&window=2d", "window must be above 0 and at most 1 day"),
        ("service=crm&failure_threshold=0", "greater than or equal to 1"),
        ("service=a%00", "Null characters"),
    ],
)
def test_a_wrong_setting_is_explained(
    harness: Harness, staff_client: Client, outage: None, query: str, message: str
) -> None:
    page = unescape(staff_client.get(f"/dashboard/advice/breaker/?{query}").content.decode())
    assert message in page
    assert "Present settings, simulated" in page


@pytest.mark.django_db
def test_without_services_there_is_nothing_to_play(harness: Harness, staff_client: Client) -> None:
    assert staff_client.get("/dashboard/advice/breaker/").status_code == 200


@pytest.mark.django_db
def test_only_so_many_failures_are_played(harness: Harness, outage: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "MAX_FAILURES", 100)
    recorded = circuits.compare("crm", POLICY).recorded
    assert (recorded.failed, recorded.opened) == (90, 0)
    assert recorded.since == int(NOW) // 60 * 60 - 62 * 60
