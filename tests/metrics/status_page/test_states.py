"""What strangers see of services: pure rules."""

import pytest

from metrics.incidents.circuits import Transition
from metrics.incidents.incident import Incident, Phase, Signal, SignalKind, incident_of
from metrics.status_page.states import (
    Day,
    Interruption,
    ServiceState,
    interruptions,
    state_of,
    success_share,
    with_every_day,
    worst,
)
from resilience.breaker.machine import State
from resilience.durations import DAY
from routing.router.policy import RoutePolicy, Target
from routing.router.table import Service

CRM = Service("crm", (Target("http://crm.test"),))
NOW = 1_000_000.0


def incident(kind: SignalKind, *, ended: float | None = None) -> Incident | None:
    return incident_of("crm", [Signal(kind=kind, text="", since=NOW - 60, ended=ended)], NOW)


@pytest.mark.parametrize(
    ("circuit", "found", "state"),
    [
        (State.CLOSED, None, ServiceState.OPERATIONAL),
        (State.DISABLED, None, ServiceState.OPERATIONAL),
        (State.OPEN, None, ServiceState.DOWN),
        (State.FORCED_OPEN, None, ServiceState.DOWN),
        (State.HALF_OPEN, None, ServiceState.DEGRADED),
        (State.CLOSED, incident(SignalKind.ERRORS), ServiceState.DEGRADED),
        (State.CLOSED, incident(SignalKind.ERRORS, ended=NOW - 10), ServiceState.OPERATIONAL),
        (State.CLOSED, incident(SignalKind.HIT_RATE), ServiceState.OPERATIONAL),
        (State.CLOSED, incident(SignalKind.TARGETS), ServiceState.OPERATIONAL),
    ],
)
def test_a_services_state(circuit: State, found: Incident | None, state: ServiceState) -> None:
    assert found is None or found.phase in (Phase.ACTIVE, Phase.RECOVERED)
    assert state_of(CRM, circuit, found) is state


def test_one_that_is_switched_off_or_out_of_service() -> None:
    off = Service("crm", (), policy=RoutePolicy(enabled=False))
    assert state_of(off, State.OPEN, None) is ServiceState.MAINTENANCE
    assert state_of(Service("crm", (), faults=("no target",)), State.CLOSED, None) is ServiceState.DOWN
    assert worst([ServiceState.OPERATIONAL, ServiceState.MAINTENANCE, ServiceState.DEGRADED]) is ServiceState.DEGRADED
    assert worst([]) is ServiceState.OPERATIONAL


def test_one_failure_is_never_rounded_away() -> None:
    assert success_share(1_000_000, 1) == 99.99
    assert success_share(3, 1) == 66.66
    assert success_share(5, 0) == 100
    assert success_share(0, 0) is None
    assert [Day(0, 100, errors).level for errors in (0, 1, 2, 5, 6)] == ["good", "good", "fair", "fair", "bad"]
    assert Day(0).level == "none"


def test_every_day_is_listed() -> None:
    today = 20 * DAY
    days = with_every_day([Day(18 * DAY, 5, 1), Day(3 * DAY, 1, 1)], today, 4)
    assert [(day.start // DAY, day.requests) for day in days] == [(17, 0), (18, 5), (19, 0), (20, 0)]


def test_interruptions_last_until_the_circuit_is_well() -> None:
    moves = [
        Transition(0, "CLOSED", ""),
        Transition(10, "OPEN", "5 failures"),
        Transition(20, "HALF_OPEN", ""),
        Transition(21, "OPEN", ""),
        Transition(30, "CLOSED", ""),
        Transition(40, "FORCED_OPEN", "maintenance at 10.0.0.7"),
    ]
    assert interruptions("CRM", moves) == [Interruption("CRM", 40, None), Interruption("CRM", 10, 30)]
