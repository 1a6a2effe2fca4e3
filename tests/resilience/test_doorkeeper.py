"""What counts as asked for lately: the last `span` look-ups surely, those before twice as many surely not."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.doorkeeper import Doorkeeper

SPAN = 4


@given(st.lists(st.sampled_from("abcdefghijklm"), max_size=60))
def test_it_remembers_at_least_the_last_and_at_most_twice_as_many(keys: list[str]) -> None:
    doorkeeper = Doorkeeper(SPAN)
    for place, key in enumerate(keys):
        before = keys[:place]
        found = doorkeeper.seen_before(key)
        if key in before[-SPAN + 1 :]:
            assert found
        if found:
            since = before[len(before) - 1 - before[::-1].index(key) :] if key in before else []
            assert 0 < len(set(since)) <= 2 * SPAN


def test_a_key_never_asked_for_is_unknown_however_many_were() -> None:
    doorkeeper = Doorkeeper(SPAN)
    assert not any(doorkeeper.seen_before(str(number)) for number in range(1_000))
