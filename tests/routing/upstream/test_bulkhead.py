import asyncio

import pytest

from routing.errors import Overloaded
from routing.upstream import bulkhead
from routing.upstream.bulkhead import Bulkhead


async def test_calls_within_the_limit_enter_at_once() -> None:
    bound = Bulkhead("crm", 2)
    await bound.enter()
    await bound.enter()
    assert bound.in_flight == 2


async def test_the_next_waits_for_a_place_and_takes_it() -> None:
    bound = Bulkhead("crm", 1)
    await bound.enter()
    waiting = asyncio.create_task(bound.enter())
    await asyncio.sleep(0)
    assert not waiting.done()
    bound.leave()
    await waiting
    assert bound.in_flight == 1


async def test_beyond_the_queue_it_is_overloaded() -> None:
    bound = Bulkhead("crm", 1)
    await bound.enter()
    waiting = asyncio.create_task(bound.enter())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await bound.enter()
    waiting.cancel()


async def test_a_wait_too_long_is_overloaded_and_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulkhead, "QUEUE_SECONDS", 0.01)
    bound = Bulkhead("crm", 1)
    await bound.enter()
    with pytest.raises(Overloaded):
        await bound.enter()
    bound.leave()
    assert bound.in_flight == 0


async def test_one_who_gives_up_loses_nobodys_place() -> None:
    bound = Bulkhead("crm", 1)
    await bound.enter()
    waiting = asyncio.create_task(bound.enter())
    await asyncio.sleep(0)
    bound.leave()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert bound.in_flight == 0
    await bound.enter()


async def test_a_lowered_limit_holds_as_calls_end() -> None:
    bound = Bulkhead("crm", 2)
    await bound.enter()
    await bound.enter()
    bound.limit = 1
    waiting = asyncio.create_task(bound.enter())
    await asyncio.sleep(0)
    bound.leave()
    await asyncio.sleep(0)
    assert not waiting.done()
    bound.leave()
    await waiting
    assert bound.in_flight == 1
