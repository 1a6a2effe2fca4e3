"""The rules for one worker's targets, with time as an argument."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.balancing.rules import (
    SLOW_START_SECONDS,
    HealthVerdict,
    TargetCondition,
    TargetState,
    candidates,
    changes,
    choose,
    merge_newest,
    next_verdict,
    prefer_canaries,
)
from routing.router.policy import HealthCheckPolicy, Target

POLICY = HealthCheckPolicy(down_after=3, up_after=2)


def states(*weights: int) -> list[TargetState]:
    return [TargetState(Target(f"http://t{number}", weight)) for number, weight in enumerate(weights)]


def eject(state: TargetState, now: float = 0.0) -> None:
    while not state.failed(now, no_response=True):
        pass


def choices(targets: list[TargetState], times: int = 4_000, now: float = 1_000.0) -> Counter[str]:
    random = Random(1)
    return Counter(choose(targets, now, random).target.url for _ in range(times))


def test_five_consecutive_error_responses_eject_a_target() -> None:
    [state] = states(1)
    assert [state.failed(0.0, no_response=False) for _ in range(5)] == [False] * 4 + [True]


def test_three_consecutive_failures_without_response_eject_a_target() -> None:
    [state] = states(1)
    assert [state.failed(0.0, no_response=True) for _ in range(3)] == [False, False, True]


def test_a_success_resets_the_consecutive_failures() -> None:
    [state] = states(1)
    for _ in range(20):
        assert not state.failed(0.0, no_response=True)
        assert not state.failed(0.0, no_response=True)
        state.succeeded(0.0)


def test_each_ejection_is_twice_as_long_as_the_one_before_up_to_five_minutes() -> None:
    [state] = states(1)
    now, lengths = 0.0, []
    for _ in range(7):
        eject(state, now)
        began = now
        while not state.expire_ejection(now):
            now += 1.0
        lengths.append(now - began)
    assert lengths == [10, 20, 40, 80, 160, 300, 300]


def test_the_ejection_time_is_reset_after_a_successful_slow_start() -> None:
    [state] = states(1)
    eject(state)
    assert state.expire_ejection(10.0)
    state.succeeded(39.9)
    state.succeeded(40.0)
    eject(state, 50.0)
    assert state.expire_ejection(60.0)


def test_calls_that_fail_during_an_ejection_do_not_extend_it() -> None:
    [state] = states(1)
    eject(state)
    assert not any(state.failed(9.0, no_response=True) for _ in range(20))
    assert state.expire_ejection(10.0)


def test_a_target_that_returns_is_in_slow_start() -> None:
    [state] = states(10)
    assert state.effective_weight(0.0) == 10
    eject(state)
    state.expire_ejection(10.0)
    assert [state.effective_weight(now) for now in (10.0, 13.0, 25.0, 40.0)] == [1, 1, 5, 10]


def test_a_target_that_passes_its_health_check_again_is_no_longer_ejected() -> None:
    [state] = states(10)
    state.apply_verdict(True, 0.0)
    assert not state.healthy
    eject(state, 1.0)
    state.apply_verdict(False, 2.0)
    assert (state.healthy, state.effective_weight(2.0)) == (True, 1)
    state.apply_verdict(False, 32.0)
    assert state.effective_weight(32.0) == 10


def test_a_target_an_operator_keeps_up_is_healthy_whatever_its_calls_and_checks() -> None:
    state = TargetState(Target("http://t", always_up=True))
    state.apply_verdict(True, 0.0)
    assert not any(state.failed(0.0, no_response=True) for _ in range(100))
    assert state.healthy


def test_an_ejected_target_gets_no_calls_while_half_are_healthy() -> None:
    one, other = states(1, 1)
    eject(one)
    assert candidates([one, other], []) == [other]


def test_if_fewer_than_half_are_healthy_all_are_used() -> None:
    all_three = states(1, 1, 1)
    eject(all_three[0])
    assert candidates(all_three, []) == all_three[1:]
    all_three[1].apply_verdict(True, 0.0)
    assert candidates(all_three, []) == all_three


def test_a_disabled_target_is_not_used_even_then() -> None:
    one, disabled = states(1, 0)
    eject(one)
    assert candidates([one, disabled], []) == [one]


def test_a_target_already_tried_is_the_last_choice() -> None:
    one, other = states(1, 1)
    assert candidates([one, other], [one]) == [other]
    assert candidates([one, other], [one, other]) == [one, other]
    eject(other)
    assert candidates([one, other], [one]) == [one]


def test_idle_targets_are_chosen_by_weight() -> None:
    counts = choices(states(3, 1))
    assert 0.7 < counts["http://t0"] / 4_000 < 0.8


def test_the_less_loaded_of_two_for_its_weight_is_chosen() -> None:
    one, other = states(2, 1)
    one.outstanding, other.outstanding = 3, 1
    assert set(choices([one, other])) == {"http://t1"}
    one.outstanding, other.outstanding = 3, 2
    assert set(choices([one, other])) == {"http://t0"}


def test_a_canarys_callers_and_only_they_are_sent_to_it() -> None:
    plain, five, ten = (
        TargetState(Target("http://a")),
        TargetState(Target("http://b", 1, 5)),
        TargetState(Target("http://c", 1, 10)),
    )
    targets = [plain, five, ten]
    assert [prefer_canaries(targets, targets, [], point) for point in (0, 4.9)] == [[five]] * 2
    assert [prefer_canaries(targets, targets, [], point) for point in (5, 14.9)] == [[ten]] * 2
    assert [prefer_canaries(targets, targets, [], point) for point in (15, 99.9)] == [[plain]] * 2


def test_callers_of_an_unusable_canary_are_served_by_the_others() -> None:
    plain, canary = TargetState(Target("http://a")), TargetState(Target("http://b", 1, 5))
    assert prefer_canaries([plain], [plain, canary], [], 1) == [plain]
    assert prefer_canaries([canary], [plain, canary], [], 50) == [canary]


def test_a_retry_leads_away_from_a_canary_and_not_to_one() -> None:
    plain, second = TargetState(Target("http://a")), TargetState(Target("http://a2"))
    canary, other = TargetState(Target("http://b", 1, 5)), TargetState(Target("http://c", 1, 5))
    assert candidates([plain, canary], [plain], 50) == [plain]
    assert candidates([plain, second, canary], [plain], 50) == [second]
    assert candidates([plain, canary, other], [canary], 1) == [plain]
    plain.apply_verdict(True, 0.0)
    assert candidates([plain, canary, other], [canary], 50) == [other]


@given(weights=st.lists(st.integers(0, 1_000), min_size=1, max_size=8), data=st.data())
def test_only_enabled_targets_are_chosen(weights: list[int], data: st.DataObject) -> None:
    targets = states(*weights)
    for state in targets:
        state.outstanding = data.draw(st.integers(0, 50))
        if data.draw(st.booleans()):
            eject(state)
        state.apply_verdict(data.draw(st.booleans()), 0.0)
    usable = candidates(targets, [])
    assert bool(usable) is any(weights)
    if usable:
        chosen = choose(usable, 0.0, Random(0))
        enabled = [state for state in targets if state.target.weight]
        assert chosen in enabled
        assert chosen.healthy or 2 * sum(state.healthy for state in enabled) < len(enabled)


def test_changes_are_targets_that_went_down_or_up_or_are_no_longer_checked() -> None:
    up, down = HealthVerdict(streak=1), HealthVerdict(down=True)
    before = {"same": down, "went down": up, "came up": down, "removed": down, "unchecked": up}
    after = {"same": down, "went down": down, "came up": up, "new": up, "new, down": down}
    assert changes(before, after) == [
        ("went down", True),
        ("came up", False),
        ("removed", False),
        ("new, down", True),
    ]


def test_the_later_of_two_verdicts_is_kept() -> None:
    early, late = HealthVerdict(checked_at=1.0), HealthVerdict(down=True, checked_at=2.0)
    both = {"a": late, "b": late, "c": early, "d": early}
    assert merge_newest({"a": early, "b": late, "c": early}, {"a": late, "b": early, "d": early}) == both


@pytest.mark.parametrize("passed", [True, False])
def test_a_verdict_is_kept_while_checks_agree_with_it(passed: bool) -> None:
    verdict = HealthVerdict(down=not passed, streak=1)
    assert next_verdict(verdict, passed, POLICY, 5.0) == HealthVerdict(not passed, 0, 5.0)


def test_three_consecutive_failed_checks_mark_it_down_and_two_passed_ones_up() -> None:
    verdict, history = HealthVerdict(), []
    for passed in (False, False, True, False, False, False, True, False, True, True):
        verdict = next_verdict(verdict, passed, POLICY, 1.0)
        history.append(verdict.down)
    assert history == [False] * 5 + [True] * 4 + [False]


def test_the_condition_says_what_keeps_a_target_from_its_share_of_calls() -> None:
    up, disabled = states(1, 0)
    kept = TargetState(Target("http://kept", always_up=True))
    assert [each.condition(0.0) for each in (up, disabled, kept)] == [
        TargetCondition.UP,
        TargetCondition.DISABLED,
        TargetCondition.UP,
    ]
    eject(up)
    assert up.condition(1.0) is TargetCondition.EJECTED
    up.apply_verdict(True, 2.0)
    kept.apply_verdict(True, 2.0)
    assert [up.condition(2.0), kept.condition(2.0)] == [TargetCondition.DOWN, TargetCondition.UP]
    for state in (up, kept):
        state.apply_verdict(False, 3.0)
    assert [up.condition(3.0), kept.condition(3.0)] == [TargetCondition.SLOW_START, TargetCondition.UP]
    assert up.condition(3.0 + SLOW_START_SECONDS) is TargetCondition.UP
