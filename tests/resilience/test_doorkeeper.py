"""Which keys were seen recently: the last `span` certainly, those before the last twice as many certainly not."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.doorkeeper import Doorkeeper

SPAN = 4


@given(st.lists(st.sampled_from("abcdefghijklm"), max_size=60))
def test_it_remembers_at_least_the_last_span_keys_and_at_most_twice_as_many(keys: list[str]) -> None:
    doorkeeper = Doorkeeper(SPAN)
    for index, key in enumerate(keys):
        before = keys[:index]
        seen = doorkeeper.seen_before(key)
        if key in before[-SPAN + 1 :]:
            assert seen
        if seen:
            since = before[len(before) - 1 - before[::-1].index(key) :] if key in before else []
            assert 0 < len(set(since)) <= 2 * SPAN


def test_a_new_key_is_unknown_after_any_number_of_others() -> None:
    doorkeeper = Doorkeeper(SPAN)
    assert not any(doorkeeper.seen_before(str(number)) for number in range(1_000))
