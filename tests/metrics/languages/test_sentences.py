"""Sentences that the gateway writes in English are known to the script that translates them for pages."""

import re
from collections.abc import Callable, Iterator

import pytest

from metrics.alerts.change import Reason
from metrics.counting.faults import FaultKind
from metrics.counting.histogram import bucket
from metrics.incidents.circuits import circuit_signal, target_signal
from metrics.incidents.evidence import evidence
from metrics.incidents.traffic import signals, tally
from metrics.objectives.budgets import WINDOWS, ObjectiveCounts, statuses
from resilience.breaker import machine
from resilience.breaker.machine import Outcome, Permit, Snapshot, State
from resilience.breaker.policy import BreakerPolicy
from routing.backend import reasons
from routing.router.objectives import LatencyObjective, Objectives
from routing.router.thresholds import Thresholds
from tests.metrics.languages.catalogues import ROOT

SCRIPT = ROOT / "metrics" / "static" / "dashboard" / "sentences.js"
PLACES = {"%d": r"\d[\d.,]*%?", "%s": ".+?"}
NOW = 28_000_000.0 * 60 + 30
LATER = NOW + 1_000


def patterns() -> list[re.Pattern[str]]:
    texts = re.findall(r'gettext_noop\("(.*?)"\)', SCRIPT.read_text())
    return [re.compile(re.sub("%[ds]", lambda place: PLACES[place[0]], re.escape(text))) for text in texts]


def of_traffic() -> Iterator[str]:
    last = int(NOW // 60) * 60
    bad = {"requests|GET|5xx|": 50, "requests|GET|4xx|": 200, "code|overloaded": 90, f"backend|{bucket(130)}": 60}
    minutes = {last: tally(bad | {"cache|MISS": 100}), last - 600: tally({"cache|HIT": 90, "cache|MISS": 10})}
    yield from (signal.text for signal in signals(minutes, Thresholds(), NOW))


def of_circuits() -> Iterator[str]:
    policy = BreakerPolicy(failure_threshold=2, success_threshold=2)
    opened = Snapshot()
    for _ in range(2):
        opened = machine.record(opened, policy, Permit(opened.generation), Outcome.FAILURE, NOW)
    tried, permit = machine.admit(opened, policy, LATER, "a")
    assert isinstance(permit, Permit)
    closed = machine.record(tried, policy, permit, Outcome.SUCCESS, LATER)
    closed, permit = machine.admit(closed, policy, LATER, "a")
    assert isinstance(permit, Permit)
    yield opened.reason
    yield tried.reason
    yield machine.record(tried, policy, permit, Outcome.FAILURE, LATER).reason
    yield machine.record(closed, policy, permit, Outcome.SUCCESS, LATER).reason
    for state, reason in (
        (State.OPEN, opened.reason),
        (State.OPEN, ""),
        (State.HALF_OPEN, ""),
        (State.FORCED_OPEN, ""),
    ):
        signal = circuit_signal(state, reason, (), {}, NOW)
        assert signal is not None
        yield signal.text


def of_targets() -> Iterator[str]:
    returned = {int(NOW // 60) * 60: {"target|down": 1, "target|returned": 1}}
    for unhealthy, count in (({"http://a": "down"}, 1), ({"http://a": "down"}, 2), ({}, 2)):
        signal = target_signal(unhealthy, count, returned)
        assert signal is not None
        yield signal.text


def of_evidence() -> Iterator[str]:
    fields = {"requests|GET|2xx|": 9, "cache|STALE": 2, "fallback|mail": 2, "circuit|refused": 6}
    yield from (answer.name for answer in evidence(fields, FaultKind.ERROR).answers)


def of_objectives() -> Iterator[str]:
    for seconds in (0.3, 2.5):
        objectives = Objectives(availability=0.999, latency=LatencyObjective(seconds, 0.95))
        windows = dict.fromkeys(WINDOWS, ObjectiveCounts())
        yield from (status.text for status in statuses(objectives, windows, ObjectiveCounts(), 20))


def of_calls() -> Iterator[str]:
    by, at = (
        (reasons.REFUSED, reasons.RESET),
        (
            reasons.NO_SUCH_NAME,
            reasons.CONNECT_TIMEOUT,
            reasons.READ_TIMEOUT,
            reasons.IDLE_TIMEOUT,
            reasons.WRITE_TIMEOUT,
            reasons.TOTAL_TIMEOUT,
            reasons.CLOSED_BEFORE_RESPONSE,
            reasons.CLOSED_DURING_RESPONSE,
        ),
    )
    yield from (f"{reason} by 127.0.0.1:9" for reason in by)
    yield from (f"{reason} at 127.0.0.1:9" for reason in at)


def of_alerts() -> Iterator[str]:
    yield from (reason.text for reason in Reason)


@pytest.mark.parametrize(
    "sentences", [of_traffic, of_circuits, of_targets, of_evidence, of_objectives, of_calls, of_alerts]
)
def test_every_sentence_is_known(sentences: Callable[[], Iterator[str]]) -> None:
    found, known = list(sentences()), patterns()
    assert len(found) > 2
    assert [text for text in found if not any(form.fullmatch(text) for form in known)] == []
