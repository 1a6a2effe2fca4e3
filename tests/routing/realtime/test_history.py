"""Which events the history keeps, and for how long."""

import random
import tracemalloc
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.realtime import history as history_module
from routing.realtime.event import Event, EventRecord, decode_event, encode_record
from routing.realtime.event_id import following_id, format_event_id, parse_event_id
from routing.realtime.history import EVENT_OVERHEAD_BYTES, RETENTION_SECONDS, History


def event(ms: int, size: int = 10, text: str = "") -> Event:
    data = msgspec.json.encode(text or "x" * size)
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


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 300)), max_size=60),
    st.integers(0, 1_300),
    st.integers(1, 90),
)
def test_compressed_events_are_returned_like_others(added: list[tuple[int, int]], start: int, limit: int) -> None:
    """Also while the oldest of a block have been removed."""
    history = History(max_events=300, max_bytes=40_000)
    ids: list[int] = []
    with patch.object(history_module, "BLOCK", 16), patch.object(history_module, "BLOCK_BYTES", 8_000):
        for count, size in added:
            for _ in range(count):
                ids.append(len(ids) + 1)
                history.add(event(ids[-1], size))
        expected = [ms for ms in ids if (ms, 0) > history.floor]
        assert len(history) == len(expected) <= 300
        everything = history.after(history.floor, 1_000)
        assert [(found.id, found.record.type) for found in everything] == [((ms, 0), "t") for ms in expected]
        later = [ms for ms in expected if ms > start]
        assert [found.id[0] for found in history.after((start, 0), limit)] == later[:limit]
        history.expire(RETENTION_SECONDS + (start + 1.5) / 1_000)
        assert [found.id[0] for found in history.after((0, 0), 1_000)] == later


@pytest.mark.parametrize(("size", "count"), [(0, 40_000), (500, 8_000), (10_000, 1_000)])
def test_the_limit_applies_to_memory_and_not_only_to_text(size: int, count: int) -> None:
    """Of texts that have nothing in common."""
    history = History(max_bytes=1_000_000)
    history.reset((0, 0), (0, 0))
    chance = random.Random(7)
    tracemalloc.start()
    try:
        for ms in range(count):
            history.add(event(1_790_000_000_000 + ms, text=chance.randbytes(size // 2).hex()))
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 500_000 < allocated < 1_200_000


def test_events_that_are_alike_take_little_memory() -> None:
    history = History()
    history.reset((0, 0), (0, 0))
    text = "the circuit of crm was opened after 12 of 20 calls had failed"
    tracemalloc.start()
    try:
        for ms in range(20_000):
            history.add(event(1_790_000_000_000 + ms, text=f"{text} {ms * 7_919}"))
        allocated, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(history) == 20_000
    assert allocated < 20_000 * EVENT_OVERHEAD_BYTES / 2


def test_ids_increase_even_if_the_clock_does_not() -> None:
    first = following_id((0, 0), 5.0)
    second = following_id(first, 4.0)
    assert second > first
    assert parse_event_id(format_event_id(second)) == second
    assert [parse_event_id(text) for text in ("", "1", "1-", "a-1", "1-1-1", "-1-1", "1" * 30 + "-0")] == [None] * 7
