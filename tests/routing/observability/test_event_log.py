"""What is written of circuits and targets, and that a request writes nothing here."""

import pytest

from routing.observability.event_log import EventLog
from routing.observability.events import BackendEvent, BackendEventKind, Observers, RequestFinished

FINISHED = RequestFinished(at=0, request_id="r", method="GET", path="/", status=200, duration=0)


def test_a_circuits_move_is_a_line_that_a_reason_cannot_break(caplog: pytest.LogCaptureFixture) -> None:
    EventLog().circuit_changed("crm", "CLOSED", "FORCED_OPEN", "they\nasked")
    assert caplog.messages == ["the circuit of crm: CLOSED -> FORCED_OPEN: 'they\\nasked'"]


def test_so_is_a_target_that_is_out_or_back(caplog: pytest.LogCaptureFixture) -> None:
    for kind in BackendEventKind:
        EventLog().backend_event(BackendEvent(kind=kind, service="crm", target="http://t", detail="why"))
    assert caplog.messages == [
        "the target http://t of crm is ejected by this worker: why",
        "the target http://t of crm is returned to rotation by this worker: why",
        "the target http://t of crm is marked down: why",
        "the target http://t of crm is marked up: why",
    ]


def test_a_request_that_ends_is_not_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    observers = Observers([EventLog()])
    monkeypatch.setattr(EventLog, "finished", lambda *_: pytest.fail("it was asked"))
    observers.finished(FINISHED)
