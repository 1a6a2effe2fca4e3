"""The bulkhead: a limit of concurrent calls to one service, and a short queue."""

import asyncio

import pytest

from routing.errors import Overloaded
from routing.upstream import bulkhead
from routing.upstream.bulkhead import Bulkhead


async def test_calls_within_the_limit_enter_at_once() -> None:
    slots = Bulkhead("crm", 2)
    await slots.enter()
    await slots.enter()
    assert slots.in_flight == 2


async def test_the_next_call_waits_for_a_slot() -> None:
    slots = Bulkhead("crm", 1)
    await slots.enter()
    waiting = asyncio.create_task(slots.enter())
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.leave()
    await waiting
    assert slots.in_flight == 1


async def test_a_full_queue_is_overloaded() -> None:
    slots = Bulkhead("crm", 1)
    await slots.enter()
    waiting = asyncio.create_task(slots.enter())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await slots.enter()
    waiting.cancel()


async def test_a_call_that_waits_too_long_is_overloaded_and_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "QUEUE_SECONDS", 0.01)
    slots = Bulkhead("crm", 1)
    await slots.enter()
    with pytest.raises(Overloaded):
        await slots.enter()
    slots.leave()
    assert slots.in_flight == 0


async def test_a_cancelled_wait_releases_its_slot() -> None:
    slots = Bulkhead("crm", 1)
    await slots.enter()
    waiting = asyncio.create_task(slots.enter())
    await asyncio.sleep(0)
    slots.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.in_flight == 0
    await slots.enter()


async def test_a_lowered_limit_applies_as_calls_end() -> None:
    slots = Bulkhead("crm", 2)
    await slots.enter()
    await slots.enter()
    slots.limit = 1
    waiting = asyncio.create_task(slots.enter())
    await asyncio.sleep(0)
    slots.leave()
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.leave()
    await waiting
    assert slots.in_flight == 1
