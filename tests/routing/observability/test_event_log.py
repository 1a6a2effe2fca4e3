"""Log lines for circuits and targets, and none for requests."""

import pytest

from routing.observability.event_log import EventLog
from routing.observability.events import BackendEvent, BackendEventKind, Observers, RequestFinished

FINISHED = RequestFinished(at=0, request_id="r", method="GET", path="/", status=200, duration=0)


def test_a_circuit_transition_is_one_line_whatever_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    EventLog().circuit_changed("crm", "CLOSED", "FORCED_OPEN", "maintenance\nwindow")
    assert caplog.messages == ["the circuit of crm: CLOSED -> FORCED_OPEN: 'maintenance\\nwindow'"]


def test_the_events_of_targets_and_credentials_are_one_line_each(caplog: pytest.LogCaptureFixture) -> None:
    for kind in BackendEventKind:
        EventLog().backend_event(BackendEvent(kind=kind, service="crm", target="http://t", detail="why"))
    assert caplog.messages == [
        "the target http://t of crm is ejected by this worker: why",
        "the target http://t of crm is returned to rotation by this worker: why",
        "the target http://t of crm is marked down: why",
        "the target http://t of crm is marked up: why",
        "no access token was obtained for crm: why",
        "crm does not accept the gateway's credential: why",
        "the watch of http://t at crm was not renewed: why",
    ]


def test_a_rejected_credential_is_not_logged_with_each_call(caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog()
    for _ in range(3):
        log.backend_event(BackendEvent(kind=BackendEventKind.CREDENTIAL_REJECTED, service="crm", detail="status 401"))
    assert len(caplog.messages) == 1


def test_a_hold_off_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    EventLog().hold_off_changed("crm", 1_700_000_000.0, "GET /x")
    EventLog().hold_off_changed("crm", None, "GET /x")
    assert caplog.messages == [
        "no calls to crm are made until 2023-11-14T22:13:20+00:00, as it demands: GET /x",
        "calls to crm are made again: GET /x",
    ]


def test_finished_requests_are_not_passed_to_the_event_log(monkeypatch: pytest.MonkeyPatch) -> None:
    observers = Observers([EventLog()])
    monkeypatch.setattr(EventLog, "finished", lambda *_: pytest.fail("it was called"))
    observers.finished(FINISHED)
