"""What is used of quotas, in the database."""

from typing import Any

import pytest

from resilience.usage.counter import Counter
from resilience.usage.store import Delta
from routing.database.quota_ledger import _adopt, _begin, _counter, _save
from routing.models import QuotaUsage

pytestmark = pytest.mark.django_db(transaction=True)


def delta(count: int, *, since: int = 100, generation: str = "a", warned: int = 0, lowered: bool = False) -> Delta:
    return Delta("k", since, generation, since + 50, count, 0, warned, lowered)


def row() -> Counter:
    return _counter(QuotaUsage.objects.get(counter="k"))


def test_what_was_counted_is_added_and_a_later_period_begins_again() -> None:
    assert _begin(["k"], "a") == [Counter(generation="a")]
    assert _save([delta(3), delta(4)]) == ["a", "a"]
    assert row() == Counter(used=7, since=100, ends=150, generation="a")
    _save([delta(2, since=150)])
    assert row() == Counter(used=2, since=150, ends=200, generation="a")
    _save([delta(5, since=100)])  # of the former period
    assert row().used == 2


def test_the_generation_tells_whether_a_counter_was_filled_before() -> None:
    _begin(["k"], "a")
    _save([delta(3)])
    assert _begin(["k"], "b")[0].used == 3
    assert _save([delta(2, generation="a")]) == ["b"]
    assert row().used == 5


def test_a_threshold_is_kept_until_requests_are_refunded() -> None:
    _save([delta(8, warned=80), delta(1, warned=0)])
    assert row().warned == 80
    _save([delta(-5, warned=0, lowered=True)])
    assert row().warned == 0


def test_very_many_counters_take_few_statements(django_assert_max_num_queries: Any) -> None:
    keys = [f"consumer:{number}|plan|month" for number in range(1_200)]
    deltas = [Delta(key, 100, "a", 150, number, 0, 0, False) for number, key in enumerate(keys)]
    with django_assert_max_num_queries(60):
        assert [counter.used for counter in _begin(keys, "a")] == [0] * 1_200
        assert _save([*deltas, *deltas]) == ["a"] * 2_400
    assert [counter.used for counter in _begin(["unknown", *reversed(keys)], "b")] == [
        0,
        *(2 * number for number in reversed(range(1_200))),
    ]
    assert QuotaUsage.objects.count() == 1_201


def test_the_generation_of_another_worker_is_adopted_unless_there_is_a_later_one() -> None:
    _begin(["k"], "a")
    _adopt("a", {"k": "b", "unknown": "b"})
    assert row().generation == "b"
    _adopt("a", {"k": "c"})
    assert row().generation == "b"
