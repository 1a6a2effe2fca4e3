"""Who watches hears of everything asked for, and harms nobody."""

import logging

import pytest

from routing.observability.events import BackendEvent, BackendEventKind, Observer, Observers, RequestFinished

EVENT = BackendEvent(kind=BackendEventKind.EJECTED, service="crm", target="http://t", detail="why")


class Keeps(Observer):
    def __init__(self) -> None:
        self.told: list[object] = []

    def backend_event(self, event: BackendEvent) -> None:
        self.told.append(event)


class Fails(Observer):
    def finished(self, event: RequestFinished) -> None:
        raise RuntimeError

    def backend_event(self, event: BackendEvent) -> None:
        raise RuntimeError


def test_one_that_fails_silences_nobody(caplog: pytest.LogCaptureFixture) -> None:
    keeps = Keeps()
    with caplog.at_level(logging.ERROR):
        Observers([Fails(), keeps]).backend_event(EVENT)
    assert keeps.told == [EVENT]
    assert "an observer failed" in caplog.text


def test_what_an_observer_does_not_ask_for_passes_it_by() -> None:
    keeps = Keeps()
    observers = Observers([keeps])
    observers.circuit_changed("crm", "CLOSED", "OPEN", "why")
    observers.finished(RequestFinished(at=0, request_id="r", method="GET", path="/", status=200, duration=0))
    assert keeps.told == []
