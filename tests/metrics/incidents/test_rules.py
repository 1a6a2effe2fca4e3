"""When there is an incident, since when, and for how long it is shown."""

from collections.abc import Sequence
from math import inf

from metrics.counting.counts import Fields
from metrics.counting.histogram import bucket
from metrics.incidents.circuits import Transition, circuit_signal, target_signal
from metrics.incidents.incident import Incident, Phase, Signal, SignalKind, incident_of, urgency
from metrics.incidents.traffic import signals, tally
from resilience.breaker.machine import State
from routing.router.thresholds import OFF, Thresholds

MINUTE = 60
DEFAULT = Thresholds()
NOW = 28_000_000.0 * MINUTE + 30


def traffic(*minutes: Fields, thresholds: Thresholds = DEFAULT, now: float = NOW) -> dict[SignalKind, Signal]:
    """The signals of these minutes, of which the last is the current one."""
    last = int(now // MINUTE) * MINUTE
    by_start = {last - MINUTE * age: tally(fields) for age, fields in enumerate(reversed(minutes))}
    return {signal.kind: signal for signal in signals(by_start, thresholds, now)}


def answers(good: int = 0, bad: int = 0, client_errors: int = 0, **fields: int) -> Fields:
    return {
        "requests|GET|2xx|/a|b": good,
        "requests|GET|5xx|": bad,
        "requests|POST|4xx|": client_errors,
        **{name.replace("__", "|"): number for name, number in fields.items()},
    }


def test_a_service_that_answers_404_to_everything_does_not_look_healthy() -> None:
    found = traffic(answers(client_errors=30))
    assert found[SignalKind.CLIENT_ERRORS].text == "100% of responses are 4xx"
    assert found.keys() == {SignalKind.CLIENT_ERRORS}


def test_errors_are_followed_to_the_minute_in_which_they_began() -> None:
    found = traffic(*[answers(good=100)] * 5, *[answers(good=50, bad=50)] * 8)
    assert found[SignalKind.ERRORS].since == NOW - 30 - 7 * MINUTE
    assert found[SignalKind.ERRORS].ended is None
    assert found[SignalKind.ERRORS].text == "50% of responses are errors"


def test_a_signal_ends_when_the_last_minute_is_well_and_is_shown_for_five_more() -> None:
    bad, good = answers(bad=100), answers(good=100)
    assert traffic(bad)[SignalKind.ERRORS].ended is None
    assert traffic(bad, good)[SignalKind.ERRORS].ended == NOW - 30
    assert traffic(bad, *[good] * 5)[SignalKind.ERRORS].ended == NOW - 30 - 4 * MINUTE
    assert traffic(bad, *[good] * 6) == {}


def test_of_few_requests_the_last_two_minutes_count() -> None:
    bad, few = answers(bad=100), answers(good=5)
    assert traffic(bad, few)[SignalKind.ERRORS].ended is None
    assert traffic(bad, few, few)[SignalKind.ERRORS].ended == NOW - 30


def test_a_signal_that_returns_within_five_minutes_is_the_same() -> None:
    found = traffic(answers(bad=100), *[answers(good=100)] * 4, answers(bad=400))
    assert found[SignalKind.ERRORS].since == NOW - 30 - 5 * MINUTE


def test_silence_is_no_recovery() -> None:
    assert traffic(answers(bad=100), {}, {}, {})[SignalKind.ERRORS].ended is None


def test_few_requests_show_nothing() -> None:
    assert traffic(answers(bad=19)) == {}
    assert traffic(answers(bad=19), thresholds=Thresholds(minimum_requests=19)).keys() == {SignalKind.ERRORS}


def test_refusals_are_neither_client_errors_nor_errors() -> None:
    found = traffic(answers(good=40, client_errors=60, code__rate_limited=60))
    assert found.keys() == {SignalKind.REFUSALS}
    assert found[SignalKind.REFUSALS].text == "60% of requests are refused by a limit"


def test_slow_calls_are_an_incident_from_the_configured_latency_on() -> None:
    slow = {**answers(good=30), "backend|400": 30}
    assert SignalKind.LATENCY not in traffic(slow)
    assert SignalKind.LATENCY in traffic(slow, thresholds=Thresholds(latency=0.001))


def test_small_shares_and_long_durations_are_written_out() -> None:
    found = traffic(answers(good=998, bad=2), thresholds=Thresholds(error_rate=0.001))
    assert found[SignalKind.ERRORS].text == "0.2% of responses are errors"
    slow = {**answers(good=30), f"backend|{bucket(130)}": 30}
    assert traffic(slow)[SignalKind.LATENCY].text == "5% of the backend's responses take more than 120 s"


def test_a_hit_rate_is_compared_with_the_time_before() -> None:
    usual, fallen = answers(good=100, cache__HIT=80, cache__MISS=20), answers(good=100, cache__HIT=20, cache__MISS=80)
    found = traffic(*[usual] * 20, *[fallen] * 5)
    assert found[SignalKind.HIT_RATE].text == "the hit rate fell from 80% to 20%"
    assert SignalKind.HIT_RATE not in traffic(*[fallen] * 25)
    assert SignalKind.HIT_RATE not in traffic(*[usual] * 20, *[fallen] * 5, thresholds=Thresholds(hit_rate_drop=inf))


def test_thresholds_that_are_off_show_nothing() -> None:
    assert traffic(*[answers(bad=100, client_errors=100)] * 9, thresholds=OFF) == {}


def circuit(state: State, *transitions: tuple[float, str], minutes: dict[int, Fields] | None = None) -> Signal | None:
    """`transitions` are ages in seconds with the states they led to."""
    moves = [Transition(NOW - age, after, "5 failures" if after == "OPEN" else "") for age, after in transitions]
    return circuit_signal(state, "5 failures" if state is State.OPEN else "", moves, minutes or {}, NOW)


def test_a_circuit_is_an_incident_from_its_first_opening_through_half_open() -> None:
    moves = [(500.0, "OPEN"), (440.0, "HALF_OPEN"), (439.0, "OPEN"), (5.0, "HALF_OPEN")]
    found = circuit(State.HALF_OPEN, *moves)
    assert found is not None
    assert (found.since, found.ended, found.tentative) == (NOW - 500, None, True)
    assert found.text == "the circuit is half open: calls are tried"
    opened = circuit(State.OPEN, (3.0, "OPEN"))
    assert opened is not None
    assert opened.text == "the circuit is open: 5 failures"


def test_an_opening_that_is_not_recorded_yet_began_now() -> None:
    found = circuit(State.OPEN)
    assert found is not None
    assert found.since == NOW


def test_a_closed_circuit_is_shown_for_five_minutes() -> None:
    def phase(age: float) -> Phase | None:
        found = circuit(State.CLOSED, (900.0, "OPEN"), (age, "CLOSED"))
        incident = incident_of("crm", [found] if found else [], NOW)
        return None if incident is None else incident.phase

    assert (phase(1), phase(299), phase(301)) == (Phase.RECOVERED, Phase.RECOVERED, None)


def test_a_circuit_that_reopens_soon_was_not_well_in_between() -> None:
    found = circuit(State.OPEN, (900.0, "OPEN"), (800.0, "CLOSED"), (700.0, "OPEN"))
    assert found is not None
    assert found.since == NOW - 900
    later = circuit(State.OPEN, (900.0, "OPEN"), (800.0, "CLOSED"), (400.0, "OPEN"))
    assert later is not None
    assert later.since == NOW - 400


def test_a_closing_that_was_counted_but_is_not_recorded_yet_is_now() -> None:
    minute = int(NOW // MINUTE) * MINUTE
    found = circuit(State.CLOSED, (900.0, "OPEN"), minutes={minute: {"transition|OPEN|CLOSED": 1}})
    assert found is not None
    assert found.ended == NOW


def test_a_disabled_circuit_is_no_incident() -> None:
    assert circuit(State.DISABLED) is None


def test_targets_without_calls_are_named_with_the_minute_of_their_failure() -> None:
    minute = int(NOW // MINUTE) * MINUTE
    failed: dict[int, Fields] = {minute - 120: {"target|down": 1}}
    found = target_signal({"http://10.0.0.2:80": "down"}, 2, failed)
    assert found is not None
    assert (found.text, found.since) == ("1 of 2 targets without calls: 10.0.0.2:80 down", minute - 120)
    returned = target_signal({}, 2, {**failed, minute - 60: {"target|up": 1}})
    assert returned is not None
    assert returned.ended == minute
    assert target_signal({}, 2, {}) is None


def test_the_most_severe_signal_that_lasts_comes_first() -> None:
    found = incident_of(
        "crm",
        [
            Signal(kind=SignalKind.LATENCY, text="slow", since=NOW - 100),
            Signal(kind=SignalKind.CIRCUIT, text="was open", since=NOW - 400, ended=NOW - 20),
            Signal(kind=SignalKind.ERRORS, text="errors", since=NOW - 300),
            Signal(kind=SignalKind.REFUSALS, text="long ago", since=NOW - 900, ended=NOW - 800),
        ],
        NOW,
    )
    assert found is not None
    assert [signal.text for signal in found.signals] == ["errors", "slow", "was open"]
    assert (found.phase, found.is_bad, found.since, found.ended) == (Phase.RECOVERING, True, NOW - 400, None)


def test_a_closed_circuit_is_recovering_while_minutes_still_show_errors() -> None:
    closed = Signal(kind=SignalKind.CIRCUIT, text="was open", since=NOW - 400, ended=NOW - 20)

    def phase(*signals: Signal) -> Phase:
        found = incident_of("crm", signals, NOW)
        assert found is not None
        return found.phase

    errors, refusals = (
        Signal(kind=kind, text="", since=NOW - 300) for kind in (SignalKind.ERRORS, SignalKind.REFUSALS)
    )
    assert phase(closed, errors) is Phase.RECOVERING
    assert phase(closed, errors, refusals) is Phase.ACTIVE
    assert phase(errors) is Phase.ACTIVE


def test_incidents_that_last_come_before_those_that_are_over() -> None:
    def incident(kind: SignalKind, since: float, ended: float | None = None) -> Incident:
        found = incident_of(kind, [Signal(kind=kind, text="", since=since, ended=ended)], NOW)
        assert found is not None
        return found

    ordered: Sequence[Incident] = sorted(
        [
            incident(SignalKind.CIRCUIT, NOW - 9, NOW),
            incident(SignalKind.LATENCY, NOW - 1),
            incident(SignalKind.ERRORS, NOW - 8),
            incident(SignalKind.OUT_OF_SERVICE, NOW - 2),
        ],
        key=urgency,
    )
    assert [each.service for each in ordered] == ["out_of_service", "errors", "latency", "circuit"]
