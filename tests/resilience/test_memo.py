"""Keys are stored on their second use, used keys stay, and there are never more than two generations."""

from hypothesis import given
from hypothesis import strategies as st

from resilience.memo import TwoGenerationMemo

SIZE = 4


@given(st.lists(st.sampled_from("abcdefghijklm"), max_size=80))
def test_it_holds_keys_put_twice_recently_and_at_most_twice_its_size(keys: list[str]) -> None:
    memo: TwoGenerationMemo[str, str] = TwoGenerationMemo(SIZE)
    for index, key in enumerate(keys):
        value = memo.get(key)
        assert value in (key, None)
        if keys[max(0, index - SIZE + 1) : index].count(key) >= 2:
            assert value == key
        if key not in keys[:index]:
            assert value is None
        if value is None:
            memo.put(key, key)
        assert max(len(memo.young), len(memo._old)) <= SIZE


def test_clearing_removes_everything() -> None:
    memo: TwoGenerationMemo[str, int] = TwoGenerationMemo(SIZE)
    for number, key in enumerate("aabbcc"):
        memo.put(key, number)
    assert [memo.get(key) for key in "abc"] == [1, 3, 5]
    memo.clear()
    assert [memo.get(key) for key in "abc"] == [None] * 3
