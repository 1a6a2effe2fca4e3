"""Which events the history keeps, and for how long."""

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.realtime.event import Event, EventRecord, decode_event, encode_record
from routing.realtime.event_id import following_id, format_event_id, parse_event_id
from routing.realtime.history import EVENT_OVERHEAD_BYTES, History


def event(ms: int, size: int = 10) -> Event:
    data = msgspec.json.encode("x" * size)
    return decode_event((ms, 0), encode_record(EventRecord("k", "t", ms / 1_000, msgspec.Raw(data))))


def test_events_after_an_id_are_returned_in_order() -> None:
    history = History()
    for ms in range(10):
        history.add(event(ms))
    assert [found.id[0] for found in history.after((6, 0), 10)] == [7, 8, 9]
    assert [found.id[0] for found in history.after((2, 5), 2)] == [3, 4]


def test_events_expire_after_five_minutes() -> None:
    history = History()
    history.reset((0, 0), (0, 0))
    history.add(event(1_000))
    history.add(event(200_000))
    history.expire(301.1)
    assert not history.covers((999, 0))
    assert history.covers((1_000, 0))


@given(st.lists(st.integers(1, 50), max_size=60))
def test_the_history_is_bounded_in_count_and_bytes_and_has_no_gaps(sizes: list[int]) -> None:
    limit = 4 * (EVENT_OVERHEAD_BYTES + 100)
    history = History(max_events=8, max_bytes=limit)
    for ms, size in enumerate(sizes, 1):
        history.add(event(ms, size))
    kept = list(history.after(history.floor, 1_000))
    assert len(kept) == len(history) <= 8
    assert sum(EVENT_OVERHEAD_BYTES + len(found.encoded) for found in kept) <= limit
    assert [found.id[0] for found in kept] == list(range(history.floor[0] + 1, len(sizes) + 1))


@pytest.mark.parametrize("size", [0, 500, 10_000])
def test_the_limit_applies_to_memory_and_not_only_to_text(size: int) -> None:
    history = History(max_bytes=1_000_000)
    history.reset((0, 0), (0, 0))
    tracemalloc.start()
    try:
        for ms in range(5_000):
            history.add(event(1_790_000_000_000 + ms, size))
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 500_000 < allocated < 1_200_000


def test_ids_increase_even_if_the_clock_does_not() -> None:
    first = following_id((0, 0), 5.0)
    second = following_id(first, 4.0)
    assert second > first
    assert parse_event_id(format_event_id(second)) == second
    assert [parse_event_id(text) for text in ("", "1", "1-", "a-1", "1-1-1", "-1-1", "1" * 30 + "-0")] == [None] * 7
