import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.holdoff import rules
from resilience.holdoff.policy import HoldOffPolicy
from resilience.holdoff.rules import HoldOff
from resilience.partition import Part, Partition

POLICY = HoldOffPolicy(base=1, max=3_600)


def test_the_latest_end_wins() -> None:
    held = rules.limited(None, POLICY, 30, 0, 0)
    assert rules.limited(held, POLICY, 10, 5, 0) == held
    assert rules.limited(held, POLICY, 40, 5, 0).until == 45
    assert rules.limited(held, POLICY, None, 5, 0) == held


def test_without_a_time_each_one_in_a_row_is_twice_as_long() -> None:
    held, now, lengths = None, 0.0, []
    for _ in range(14):
        held = rules.limited(held, POLICY, None, now, 0)
        lengths.append(held.until - now)
        now = held.until
    assert lengths == [min(2.0**number, 64) for number in range(14)]
    policy = HoldOffPolicy(base=90, max=100)
    assert rules.limited(None, policy, None, 0, 0).until == 90
    assert rules.limited(HoldOff(0, 10, strikes=9), policy, None, 10, 1).until == 110


def test_the_length_is_spread() -> None:
    lengths = {rules.limited(None, POLICY, None, 0, random.random()).until for _ in range(50)}
    assert len(lengths) > 25
    assert min(lengths) >= 1
    assert max(lengths) <= 1 + rules.JITTER


def test_a_probe_refuses_other_calls_until_it_returns() -> None:
    ended = HoldOff(0, 10)
    assert rules.retry_after(ended, 9) == 1
    assert rules.retry_after(ended, 10) is None
    leased = rules.leased(ended, "a", 5, 10)
    assert rules.retry_after(leased, 11) == 1
    assert rules.retry_after(leased, 14.5) == 0.5
    assert rules.retry_after(leased, 15) is None, "its worker is gone"
    assert rules.released(leased, "b") == leased
    assert rules.released(leased, "a") == ended


def test_a_limited_probe_begins_the_next_one() -> None:
    leased = rules.leased(HoldOff(0, 10), "a", 5, 10)
    after = rules.limited(leased, POLICY, 7, 11, 0)
    assert (after.until, after.strikes, after.holder, after.since) == (18, 2, "", 0)


def test_what_has_lapsed_is_forgotten() -> None:
    after = rules.limited(HoldOff(0, 10, strikes=9), POLICY, None, 10 + rules.KEPT_SECONDS, 0)
    assert after.strikes == 1


@given(
    st.lists(st.tuples(st.none() | st.floats(0, 1e12), st.floats(0, 1e4), st.floats(0, 1)), max_size=20),
)
def test_no_hold_off_is_shorter_than_demanded_nor_longer_than_allowed(
    steps: list[tuple[float | None, float, float]],
) -> None:
    held, now, demanded = None, 0.0, 0.0
    for wait, passed, spread in steps:
        now += passed
        held = rules.limited(held, POLICY, wait, now, spread)
        demanded = max(demanded, now + min(wait or 0.0, POLICY.max))
        assert demanded <= held.until or wait is None or held.until >= now + min(wait, POLICY.max)
        assert held.until <= now + POLICY.max * (1 + 1e-9)


@pytest.mark.parametrize("bad", [{"base": 0}, {"base": 10, "max": 5}, {"max": 1e9}])
def test_a_policy_has_bounds(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"base|max"):
        HoldOffPolicy(**bad)  # type: ignore[arg-type]


def test_a_call_is_in_each_partition_that_has_its_values() -> None:
    call = Partition("crm", "/a/{x}", "GET", "/a/1", "c")
    assert call.by([Part.ROUTE, Part.CREDENTIAL]) == Partition("crm", "/a/{x}", "", "", "c")
    assert call.by([Part.SERVICE]) == Partition("crm")
    containing = set(call.containing())
    assert len(containing) == 16
    assert all(call.by(parts) in containing for parts in ([], [Part.PATH], list(Part)))
    assert Partition("crm", "/a/{x}", "POST") not in containing


def test_a_partition_without_a_model_is_stored_as_before_there_were_any() -> None:
    call = Partition("ai", "", "POST", "/chat", "c", "gpt")
    assert call.by([Part.MODEL]) == Partition("ai", model="gpt")
    assert call.stored == ("ai", "", "POST", "/chat", "c", "gpt")
    assert call.by([Part.PATH]).stored == ("ai", "", "", "/chat", "")
    assert set(Part) <= {name.lower() for name in Partition._fields}
    assert str(call) == "POST /chat of the model gpt with one credential"
