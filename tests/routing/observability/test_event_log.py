"""Log lines for circuits and targets, and none for requests."""

import pytest

from routing.observability.event_log import EventLog
from routing.observability.events import BackendEvent, BackendEventKind, Observers, RequestFinished

FINISHED = RequestFinished(at=0, request_id="r", method="GET", path="/", status=200, duration=0)


def test_a_circuit_transition_is_one_line_whatever_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    EventLog().circuit_changed("crm", "CLOSED", "FORCED_OPEN", "maintenance\nwindow")
    assert caplog.messages == ["the circuit of crm: CLOSED -> FORCED_OPEN: 'maintenance\\nwindow'"]


def test_a_target_that_leaves_or_returns_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    for kind in BackendEventKind:
        EventLog().backend_event(BackendEvent(kind=kind, service="crm", target="http://t", detail="why"))
    assert caplog.messages == [
        "the target http://t of crm is ejected by this worker: why",
        "the target http://t of crm is returned to rotation by this worker: why",
        "the target http://t of crm is marked down: why",
        "the target http://t of crm is marked up: why",
    ]


def test_finished_requests_are_not_passed_to_the_event_log(monkeypatch: pytest.MonkeyPatch) -> None:
    observers = Observers([EventLog()])
    monkeypatch.setattr(EventLog, "finished", lambda *_: pytest.fail("it was called"))
    observers.finished(FINISHED)
