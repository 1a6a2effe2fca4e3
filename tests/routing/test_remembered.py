"""What is used stays, what is not goes, and never is there more than two generations of it."""

from hypothesis import given
from hypothesis import strategies as st

from routing.remembered import Remembered

SIZE = 4


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklm"), st.booleans()), max_size=80))
def test_it_has_what_was_used_lately_and_no_more_than_twice_its_size(steps: list[tuple[str, bool]]) -> None:
    remembered: Remembered[str, str] = Remembered(SIZE)
    used: list[str] = []
    for key, keeps in steps:
        if keeps:
            remembered.keep(key, key)
        elif key in used[-SIZE + 1 :]:
            assert remembered.get(key) == key
        else:
            assert remembered.get(key) in (key, None)
        if keeps or key in used:
            used = [*(other for other in used if other != key), key] if remembered.get(key) else used
        assert len(remembered._young) <= SIZE
        assert len(remembered._old) <= SIZE


def test_all_is_forgotten_at_once() -> None:
    remembered: Remembered[str, int] = Remembered(SIZE)
    for number, key in enumerate("abcdef"):
        remembered.keep(key, number)
    remembered.clear()
    assert [remembered.get(key) for key in "abcdef"] == [None] * 6
