"""One worker's failure rate over its window."""

from resilience.breaker.policy import BreakerPolicy
from resilience.breaker.rate import CallRate

POLICY = BreakerPolicy(failure_rate=0.5)


def test_below_the_minimum_of_calls_there_is_no_rate() -> None:
    rate = CallRate()
    assert [rate.count(True, POLICY, 0.0) for _ in range(20)] == [False] * 19 + [True]


def test_a_success_can_complete_the_minimum_of_calls() -> None:
    rate = CallRate()
    assert not any(rate.count(True, POLICY, 0.0) for _ in range(19))
    assert rate.count(False, POLICY, 0.0)


def test_calls_older_than_the_window_are_not_counted() -> None:
    rate = CallRate()
    for _ in range(19):
        rate.count(True, POLICY, 0.0)
    assert not rate.count(True, POLICY, 61.0)
    assert (rate.calls, rate.failures) == (1, 1)


def test_a_rate_below_the_threshold_is_accepted() -> None:
    rate = CallRate()
    assert not any(rate.count(number % 3 == 2, POLICY, 0.0) for number in range(100))
