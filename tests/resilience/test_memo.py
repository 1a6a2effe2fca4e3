"""What comes again is remembered, what is used stays, and never is there more than two generations of it."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.memo import TwoGenerationMemo

SIZE = 4


@given(st.lists(st.sampled_from("abcdefghijklm"), max_size=80))
def test_it_knows_what_came_twice_lately_and_no_more_than_twice_its_size(keys: list[str]) -> None:
    remembered: TwoGenerationMemo[str, str] = TwoGenerationMemo(SIZE)
    for place, key in enumerate(keys):
        value = remembered.get(key)
        assert value in (key, None)
        if keys[max(0, place - SIZE + 1) : place].count(key) >= 2:
            assert value == key
        if key not in keys[:place]:
            assert value is None
        if value is None:
            remembered.put(key, key)
        assert max(len(remembered.young), len(remembered._old)) <= SIZE


def test_all_is_forgotten_at_once() -> None:
    remembered: TwoGenerationMemo[str, int] = TwoGenerationMemo(SIZE)
    for number, key in enumerate("aabbcc"):
        remembered.put(key, number)
    assert [remembered.get(key) for key in "abc"] == [1, 3, 5]
    remembered.clear()
    assert [remembered.get(key) for key in "abc"] == [None] * 3
