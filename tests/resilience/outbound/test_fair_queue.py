import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilience.outbound.fair_queue import FairQueue


def filled(text: str) -> FairQueue[str]:
    """A queue with items such as `a1`, by their callers `a`."""
    queue: FairQueue[str] = FairQueue()
    for item in text.split():
        queue.put(item[0], item)
    return queue


def drained(queue: FairQueue[str]) -> str:
    return " ".join(queue.take() for _ in range(len(queue)))


def test_callers_take_turns_each_in_its_own_order() -> None:
    assert drained(filled("a1 a2 a3 a4 b1 c1 b2")) == "a1 b1 c1 a2 b2 a3 a4"


def test_one_that_gave_up_is_skipped() -> None:
    queue = filled("a1 a2 b1")
    queue.remove("a", "a1")
    queue.remove("a", "a1")
    assert (len(queue), drained(queue)) == (2, "a2 b1")
    with pytest.raises(LookupError):
        queue.take()


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_nobody_waits_for_more_than_one_turn_of_each_other_caller(callers: list[str]) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, caller in enumerate(callers):
        ahead = queue.position(caller)
        queue.put(caller, (caller, number))
        order = []
        copy: FairQueue[tuple[str, int]] = FairQueue()
        for earlier, each in enumerate(callers[: number + 1]):
            copy.put(each, (each, earlier))
        while len(copy):
            order.append(copy.take())
        assert order.index((caller, number)) <= ahead
    assert len(queue) == len(callers)
