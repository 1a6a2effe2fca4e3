"""What one worker makes of a target, on a clock that is an argument."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.balancing.rules import (
    HealthVerdict,
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


def drawn(among: list[TargetState], times: int = 4_000, now: float = 1_000.0) -> Counter[str]:
    chance = Random(1)
    return Counter(choose(among, now, chance).target.url for _ in range(times))


def test_five_failing_answers_in_a_row_eject_it() -> None:
    [state] = states(1)
    assert [state.failed(0.0, no_response=False) for _ in range(5)] == [False] * 4 + [True]


def test_three_without_an_answer_do() -> None:
    [state] = states(1)
    assert [state.failed(0.0, no_response=True) for _ in range(3)] == [False, False, True]


def test_an_answer_between_failures_begins_the_row_anew() -> None:
    [state] = states(1)
    for _ in range(20):
        assert not state.failed(0.0, no_response=True)
        assert not state.failed(0.0, no_response=True)
        state.succeeded(0.0)


def test_each_ejection_is_twice_as_long_as_the_last_up_to_five_minutes() -> None:
    [state] = states(1)
    now, lengths = 0.0, []
    for _ in range(7):
        eject(state, now)
        began = now
        while not state.expire_ejection(now):
            now += 1.0
        lengths.append(now - began)
    assert lengths == [10, 20, 40, 80, 160, 300, 300]


def test_one_that_behaves_through_its_slow_start_has_a_clean_slate() -> None:
    [state] = states(1)
    eject(state)
    assert state.expire_ejection(10.0)
    state.succeeded(39.9)
    state.succeeded(40.0)
    eject(state, 50.0)
    assert state.expire_ejection(60.0)


def test_calls_still_out_when_it_was_ejected_do_not_lengthen_it() -> None:
    [state] = states(1)
    eject(state)
    assert not any(state.failed(9.0, no_response=True) for _ in range(20))
    assert state.expire_ejection(10.0)


def test_one_that_returns_starts_slowly() -> None:
    [state] = states(10)
    assert state.effective_weight(0.0) == 10
    eject(state)
    state.expire_ejection(10.0)
    assert [state.effective_weight(now) for now in (10.0, 13.0, 25.0, 40.0)] == [1, 1, 5, 10]


def test_what_a_health_check_finds_up_again_is_no_longer_ejected() -> None:
    [state] = states(10)
    state.apply_verdict(True, 0.0)
    assert not state.healthy
    eject(state, 1.0)
    state.apply_verdict(False, 2.0)
    assert (state.healthy, state.effective_weight(2.0)) == (True, 1)
    state.apply_verdict(False, 32.0)
    assert state.effective_weight(32.0) == 10


def test_one_an_operator_says_is_up_is_well_whatever_its_calls_and_checks_say() -> None:
    state = TargetState(Target("http://t", always_up=True))
    state.apply_verdict(True, 0.0)
    assert not any(state.failed(0.0, no_response=True) for _ in range(100))
    assert state.healthy


def test_an_ejected_one_gets_no_calls_while_half_are_well() -> None:
    one, other = states(1, 1)
    eject(one)
    assert candidates([one, other], []) == [other]


def test_when_fewer_than_half_are_well_all_are_used() -> None:
    all_three = states(1, 1, 1)
    eject(all_three[0])
    assert candidates(all_three, []) == all_three[1:]
    all_three[1].apply_verdict(True, 0.0)
    assert candidates(all_three, []) == all_three


def test_but_never_one_an_operator_rests() -> None:
    one, rested = states(1, 0)
    eject(one)
    assert candidates([one, rested], []) == [one]


def test_one_already_tried_comes_last() -> None:
    one, other = states(1, 1)
    assert candidates([one, other], [one]) == [other]
    assert candidates([one, other], [one, other]) == [one, other]
    eject(other)
    assert candidates([one, other], [one]) == [one]


def test_idle_targets_are_called_by_their_weight() -> None:
    counts = drawn(states(3, 1))
    assert 0.7 < counts["http://t0"] / 4_000 < 0.8


def test_of_two_the_less_busy_for_its_weight_is_called() -> None:
    one, other = states(2, 1)
    one.outstanding, other.outstanding = 3, 1
    assert set(drawn([one, other])) == {"http://t1"}
    one.outstanding, other.outstanding = 3, 2
    assert set(drawn([one, other])) == {"http://t0"}


def test_a_canarys_callers_go_to_it_and_nobody_else_does() -> None:
    plain, five, ten = (
        TargetState(Target("http://a")),
        TargetState(Target("http://b", 1, 5)),
        TargetState(Target("http://c", 1, 10)),
    )
    among = [plain, five, ten]
    assert [prefer_canaries(among, among, point) for point in (0, 4.9)] == [[five]] * 2
    assert [prefer_canaries(among, among, point) for point in (5, 14.9)] == [[ten]] * 2
    assert [prefer_canaries(among, among, point) for point in (15, 99.9)] == [[plain]] * 2


def test_while_a_canary_is_out_its_callers_are_served_like_all_others() -> None:
    plain, canary = TargetState(Target("http://a")), TargetState(Target("http://b", 1, 5))
    assert prefer_canaries([plain], [plain, canary], 1) == [plain]
    assert prefer_canaries([canary], [plain, canary], 50) == [canary]


@given(weights=st.lists(st.integers(0, 1_000), min_size=1, max_size=8), data=st.data())
def test_whoever_is_chosen_may_work(weights: list[int], data: st.DataObject) -> None:
    among = states(*weights)
    for state in among:
        state.outstanding = data.draw(st.integers(0, 50))
        if data.draw(st.booleans()):
            eject(state)
        state.apply_verdict(data.draw(st.booleans()), 0.0)
    fit = candidates(among, [])
    assert bool(fit) is any(weights)
    if fit:
        chosen = choose(fit, 0.0, Random(0))
        able = [state for state in among if state.target.weight]
        assert chosen in able
        assert chosen.healthy or 2 * sum(state.healthy for state in able) < len(able)


def test_news_is_what_was_found_down_or_up_and_what_is_asked_no_more() -> None:
    up, down = HealthVerdict(streak=1), HealthVerdict(down=True)
    before = {"same": down, "falls": up, "rises": down, "gone": down, "quiet": up}
    after = {"same": down, "falls": down, "rises": up, "new": up, "born down": down}
    assert changes(before, after) == [("falls", True), ("rises", False), ("gone", False), ("born down", True)]


def test_of_two_verdicts_the_later_counts() -> None:
    early, late = HealthVerdict(checked_at=1.0), HealthVerdict(down=True, checked_at=2.0)
    both = {"a": late, "b": late, "c": early, "d": early}
    assert merge_newest({"a": early, "b": late, "c": early}, {"a": late, "b": early, "d": early}) == both


@pytest.mark.parametrize("well", [True, False])
def test_a_verdict_holds_while_checks_agree_with_it(well: bool) -> None:
    verdict = HealthVerdict(down=not well, streak=1)
    assert next_verdict(verdict, well, POLICY, 5.0) == HealthVerdict(not well, 0, 5.0)


def test_three_bad_checks_in_a_row_find_it_down_and_two_good_ones_up() -> None:
    verdict, history = HealthVerdict(), []
    for well in (False, False, True, False, False, False, True, False, True, True):
        verdict = next_verdict(verdict, well, POLICY, 1.0)
        history.append(verdict.down)
    assert history == [False] * 5 + [True] * 4 + [False]
