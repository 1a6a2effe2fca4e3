"""One worker's targets: who is called, and what is told of it."""

from collections import Counter
from random import Random

import pytest

from routing.balancing.balancer import Balancers, canary_point
from routing.balancing.rules import EJECT_AFTER, EJECT_SECONDS
from routing.errors import ServiceDisabled
from routing.observability.events import BackendEvent, BackendEventKind
from routing.router.policy import Target
from routing.router.table import Service
from tests.clock import FakeClock

ONE, OTHER = Target("http://one"), Target("http://other")


class Scene:
    def __init__(self, *targets: Target) -> None:
        self.clock = FakeClock()
        self.events: list[BackendEvent] = []
        self.targets = Balancers(clock=self.clock, emit=self.events.append, random=Random(1))
        self.serve(*targets)

    def serve(self, *targets: Target) -> None:
        self.balancer = self.targets.of(Service("crm", targets))

    def call(self, caller: str = "") -> Target:
        state = self.balancer.pick([], caller)
        self.balancer.release(state)
        return state.target

    def fail(self, target: Target, times: int = EJECT_AFTER) -> None:
        while times:
            state = self.balancer.pick([])
            if state.target == target:
                self.balancer.failed(state, "500", no_response=False)
                times -= 1
            self.balancer.release(state)


def test_a_failing_target_is_left_out_and_taken_in_again_and_both_are_told() -> None:
    scene = Scene(ONE, OTHER)
    scene.fail(ONE)
    assert {scene.call() for _ in range(20)} == {OTHER}
    scene.clock.advance(EJECT_SECONDS)
    assert scene.balancer.unhealthy_count == 0
    assert [(event.kind, event.target) for event in scene.events] == [
        (BackendEventKind.EJECTED, ONE.url),
        (BackendEventKind.RETURNED, ONE.url),
    ]


def test_the_only_target_is_never_left_out() -> None:
    scene = Scene(ONE)
    scene.fail(ONE, 100)
    assert (scene.call(), scene.events) == (ONE, [])


def test_a_new_configuration_keeps_what_is_known_of_targets_it_keeps() -> None:
    scene = Scene(ONE, OTHER)
    scene.fail(ONE)
    scene.serve(ONE, OTHER, Target("http://third"))
    assert ONE not in {scene.call() for _ in range(40)}


def test_a_target_an_operator_has_changed_is_judged_anew() -> None:
    scene = Scene(ONE, OTHER)
    scene.fail(ONE)
    again = Target(ONE.url, 2)
    scene.serve(again, OTHER)
    assert again in {scene.call() for _ in range(40)}


def test_calls_out_are_counted_and_the_less_busy_is_called() -> None:
    scene = Scene(ONE, OTHER)
    taken = Counter(scene.balancer.pick([]).target for _ in range(100))
    assert taken == {ONE: 50, OTHER: 50}


def test_when_all_rest_nobody_is_called() -> None:
    with pytest.raises(ServiceDisabled):
        Scene(Target("http://one", 0), Target("http://other", 0)).call()


def test_a_canary_has_its_share_of_the_callers_and_they_stay_its_own() -> None:
    canary = Target("http://canary", 1, 5)
    scene = Scene(ONE, canary)
    callers = [f"key:{number}" for number in range(4_000)]
    first = {caller: scene.call(caller) for caller in callers}
    assert 0.03 < Counter(first.values())[canary] / len(callers) < 0.07
    assert {caller: scene.call(caller) for caller in callers} == first
    assert all((canary_point("crm", caller) < 5) is (target == canary) for caller, target in first.items())
