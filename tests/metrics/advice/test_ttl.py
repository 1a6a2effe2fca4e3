"""How often responses change, as estimated, and what is advised of it."""

import math
import random
from collections import Counter
from typing import Any

import pytest

from metrics.advice.estimate import change_rate, outdated_share, step_below
from metrics.advice.ttl import Evidence, TtlAdvice, advise
from metrics.counting.refetches import interval_bucket, interval_of

HOUR = 3_600.0


@pytest.mark.parametrize("every", [120.0, 3_600.0, 14_400.0])
@pytest.mark.parametrize("interval", [60.0, 300.0])
def test_the_rate_of_random_changes_is_found(every: float, interval: float) -> None:
    rng = random.Random(1)
    same, changed = Counter[float](), Counter[float]()
    for _ in range(40_000):
        between = interval * rng.uniform(1, 3)
        seen = interval_of(interval_bucket(between))
        (changed if rng.random() < -math.expm1(-between / every) else same)[seen] += 1
    rate = change_rate(same, changed)
    assert rate == pytest.approx(1 / every, rel=0.15)


def test_no_change_and_only_changes() -> None:
    assert change_rate({60: 10}, {}) == 0
    assert change_rate({}, {60: 10}) is None
    assert change_rate({1e9: 1}, {1e9: 1}) == pytest.approx(math.log(2) / 1e9, rel=0.5)


def test_the_share_of_time_in_which_a_response_is_outdated() -> None:
    rng = random.Random(2)
    outdated = [max(0.0, 600 - rng.expovariate(1 / 900)) for _ in range(20_000)]
    assert outdated_share(600, 1 / 900) == pytest.approx(sum(outdated) / 600 / 20_000, rel=0.02)
    assert outdated_share(1, 1e-9) == pytest.approx(5e-10)
    assert outdated_share(1e6, 1.0) == pytest.approx(1, abs=1e-5)


def test_lifetimes_are_round() -> None:
    assert [step_below(each) for each in (0.2, 59, 60, 1_799, 1e9)] == [1, 30, 60, 900, 86_400]


def evidence(same: dict[float, int], changed: dict[float, int], **fields: Any) -> Evidence:
    return Evidence(same=same, changed=changed, **({"days": 1.0} | fields))


def test_a_longer_lifetime_saves_calls() -> None:
    """Channels that are kept for five minutes, fetched 2,304 times a day, and change every four hours or so."""
    found = advise(evidence({310.0: 2_256}, {310.0: 48}), 300)
    assert found is not None
    assert found.ttl == 900  # 48 changes may be fewer than usual
    found = advise(evidence({310.0: 2_256 * 100}, {310.0: 48 * 100}, days=100.0), 300)
    assert found is not None
    assert (found.ttl, round(found.calls, -2)) == (1_800, 1_900)
    assert found.every == pytest.approx(4.1 * HOUR, rel=0.05)
    assert found.outdated < 0.07


def test_what_has_never_changed_is_kept_for_as_long_as_it_was_watched_allows() -> None:
    found = advise(evidence({60.0: 1_440 * 7}, {}, days=7.0), 60)
    assert found is not None
    assert (found.ttl, found.every) == (21_600, None)
    assert found.calls == pytest.approx(1_440 * (1 - 60 / 21_600), rel=0.01)


def test_a_lifetime_that_is_too_long_is_found() -> None:
    found = advise(evidence({3_600.0: 10}, {3_600.0: 90}), 3_600)
    assert found is not None
    assert found.ttl == 120
    assert found.outdated_now > 0.5
    assert found.calls < 0


def test_several_workers_do_not_make_the_savings_larger() -> None:
    """Four workers see a fetch of each of them every 20 minutes, where there is one every five."""
    same, changed = {1_200.0: 2_800}, {1_200.0: 20}
    alone = advise(evidence(same, changed, days=10.0), 300)
    corrected = advise(evidence(same, changed, days=10.0, requests=28_200, cached=25_380), 300)
    assert alone is not None
    assert corrected is not None
    assert corrected.ttl == alone.ttl
    assert alone.calls < corrected.calls < 282


@pytest.mark.parametrize(
    ("same", "changed", "ttl"),
    [
        ({60.0: 10}, {60.0: 5}, 60),  # too few
        ({60.0: 1_000}, {60.0: 100}, 60),  # as it should be
        ({60.0: 1_000}, {60.0: 10}, 0),  # validated each time
        ({86_400.0: 30}, {}, 43_200),  # hardly anything to save
    ],
)
def test_nothing_is_advised_without_a_reason(same: dict[float, int], changed: dict[float, int], ttl: float) -> None:
    assert advise(evidence(same, changed, days=5.0), ttl) is None


def test_responses_that_always_differ_allow_no_advice() -> None:
    assert advise(evidence({}, {60.0: 100}), 60) == TtlAdvice(ttl=None)


def test_buckets_are_half_octaves() -> None:
    assert [interval_bucket(each) for each in (0.1, 1, 300, 14_400, 1e12)] == [0, 0, 16, 28, 50]
    for seconds in (2.0, 37.0, 90.0, 5_000.0):
        assert interval_of(interval_bucket(seconds)) == pytest.approx(seconds, rel=0.19)
