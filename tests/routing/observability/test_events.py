"""Observers receive the events they handle, and cannot disturb others."""

import logging

import pytest

from routing.observability.events import BackendEvent, BackendEventKind, Observer, Observers, RequestFinished

EVENT = BackendEvent(kind=BackendEventKind.EJECTED, service="crm", target="http://t", detail="why")


class Recorder(Observer):
    def __init__(self) -> None:
        self.events: list[object] = []

    def backend_event(self, event: BackendEvent) -> None:
        self.events.append(event)


class FailingObserver(Observer):
    def finished(self, event: RequestFinished) -> None:
        raise RuntimeError

    def backend_event(self, event: BackendEvent) -> None:
        raise RuntimeError


def test_a_failing_observer_does_not_affect_others(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    with caplog.at_level(logging.ERROR):
        Observers([FailingObserver(), recorder]).backend_event(EVENT)
    assert recorder.events == [EVENT]
    assert "an observer failed" in caplog.text


def test_events_an_observer_does_not_handle_are_ignored() -> None:
    recorder = Recorder()
    observers = Observers([recorder])
    observers.circuit_changed("crm", "CLOSED", "OPEN", "why")
    observers.finished(RequestFinished(at=0, request_id="r", method="GET", path="/", status=200, duration=0))
    assert recorder.events == []
