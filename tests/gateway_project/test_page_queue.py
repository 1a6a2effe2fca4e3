"""Admission to Django: bounds, the share of each client, and the budget of those without an identity."""

import asyncio

import pytest

from gateway_project.pages import budget as page_budget
from gateway_project.pages import queue as page_queue
from gateway_project.pages.budget import Allowance, PageBudget, ServiceTraffic
from gateway_project.pages.queue import PageQueue
from routing.errors import Overloaded
from tests.clock import FakeClock


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_client_has_its_share_and_others_have_theirs() -> None:
    queue = PageQueue(running=3, per_client=2)
    assert [queue.try_enter("a") for _ in range(3)] == [True, True, False]
    assert queue.try_enter("b")
    assert not queue.try_enter("c")
    queue.leave("a")
    assert queue.try_enter("c")


async def test_clients_that_wait_take_turns() -> None:
    queue, order = PageQueue(running=1, per_client=1), list[str]()

    async def request(client: str) -> None:
        await queue.enter(client)
        order.append(client)
        await asyncio.sleep(0)
        queue.leave(client)

    assert queue.try_enter("x")
    waiting = [asyncio.create_task(request(client)) for client in "aaaab"]
    await settle()
    assert not order
    queue.leave("x")
    await asyncio.gather(*waiting)
    assert order.index("b") == 1
    assert queue.try_enter("x")


async def test_the_queue_is_bounded_in_all_and_for_each_client() -> None:
    queue = PageQueue(running=1, per_client=1, waiting=3, waiting_per_client=2)
    assert queue.try_enter("a")
    waiting = [asyncio.create_task(queue.enter(client)) for client in "aab"]
    await settle()
    for client in "ac":
        with pytest.raises(Overloaded) as error:
            await queue.enter(client)
        assert error.value.seconds == 5
    for _ in range(3):
        queue.leave("a" if not waiting[2].done() else "b")
        await settle()
    assert all(task.done() for task in waiting)


async def test_a_wait_ends_with_the_queues_time() -> None:
    queue = PageQueue(running=1, seconds=0.01)
    assert queue.try_enter("a")
    with pytest.raises(Overloaded):
        await queue.enter("b")
    queue.leave("a")
    assert queue.try_enter("b")


async def test_a_request_whose_client_has_gone_leaves_the_queue() -> None:
    queue = PageQueue(running=1)
    assert queue.try_enter("a")
    gone, other = asyncio.create_task(queue.enter("a")), asyncio.create_task(queue.enter("b"))
    await settle()
    gone.cancel()
    await settle()
    queue.leave("a")
    await other
    queue.leave("b")
    assert queue.try_enter("c")


async def test_a_slot_given_to_a_cancelled_request_is_passed_on() -> None:
    queue = PageQueue(running=1)
    assert queue.try_enter("a")
    waiting = asyncio.create_task(queue.enter("b"))
    await settle()
    queue.leave("a")  # gives the slot to b
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert queue.try_enter("c")


async def test_a_client_without_budget_waits_and_nobody_else_does() -> None:
    clock = FakeClock()
    queue = PageQueue(PageBudget(clock, client=Allowance(1.0, 0.5)))
    assert queue.try_enter("a")
    queue.leave("a", 1.01)
    assert not queue.try_enter("a")
    waiting = asyncio.create_task(queue.enter("a"))
    await settle()
    assert not waiting.done()
    assert queue.try_enter("b")
    clock.advance(1.0)
    async with asyncio.timeout(30):
        await waiting  # its own timer: 0.02 s


def test_the_budget_is_a_burst_and_then_a_share() -> None:
    clock = FakeClock()
    budget = PageBudget(clock, client=Allowance(2.0, 0.05))
    budget.charge("a", 2.0)
    assert budget.wait("a") == 0
    budget.charge("a", 0.1)
    assert budget.wait("a") == pytest.approx(2.0)
    assert budget.wait("b") == 0
    clock.advance(1.0)
    assert budget.wait("a") == pytest.approx(1.0)
    used = 0.0
    for _ in range(1_000):
        clock.advance(0.1)
        if not budget.wait("a"):
            budget.charge("a", 0.02)
            used += 0.02
    assert used == pytest.approx(0.05 * 100, rel=0.1)


def test_all_addresses_together_have_a_budget() -> None:
    clock = FakeClock()
    budget = PageBudget(clock, client=Allowance(2.0, 0.05), total=Allowance(5.0, 0.1))
    for number in range(5):
        assert budget.wait(f"client {number}") == 0
        budget.charge(f"client {number}", 1.1)
    assert budget.wait("another") == pytest.approx(5.0)
    budget.recognise("another")
    assert budget.wait("another") == 0
    assert budget.wait("client 9") > 0
    clock.advance(600.0)
    budget.charge("client 0", 6.0)
    assert budget.wait("another") > 0


def test_an_address_with_an_identity_has_more() -> None:
    clock = FakeClock()
    budget = PageBudget(clock, client=Allowance(2.0, 0.05), known=Allowance(10.0, 0.25))
    budget.charge("a", 9.0)
    assert budget.wait("a") == pytest.approx(140.0)
    budget.recognise("a")
    assert budget.wait("a") == 0
    budget.charge("a", 2.0)
    assert budget.wait("a") == pytest.approx(4.0)


def test_the_budget_forgets_clients_that_owe_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_budget, "MAX_CLIENTS", 100)
    clock = FakeClock()
    budget = PageBudget(clock)
    for number in range(10_000):
        budget.charge(f"client {number}", 0.01)
        clock.advance(0.1)
    assert len(budget) <= 200


def test_the_budget_holds_only_beside_traffic_of_services() -> None:
    clock = FakeClock()
    traffic = ServiceTraffic(clock)
    budget = PageBudget(clock, is_contended=traffic.is_present)
    budget.charge("a", 60.0)
    for requests, is_present in ((0, False), (5, True), (4, False), (50, True)):
        clock.advance(1.0)
        traffic.requests += requests
        assert (budget.wait("a") > 0) is is_present
        clock.advance(0.5)
        assert (budget.wait("a") > 0) is is_present  # for a second
        clock.advance(0.5)
        budget.wait("a")
    clock.advance(100.0)
    traffic.requests += 100
    assert budget.wait("a") == 0  # one a second


async def test_who_waits_for_its_budget_is_admitted_when_the_traffic_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_queue, "RECHECK_SECONDS", 0.01)
    contended = [True]
    queue = PageQueue(PageBudget(FakeClock(), is_contended=lambda: contended[0]))
    assert queue.try_enter("a")
    queue.leave("a", 60.0)
    waiting = asyncio.create_task(queue.enter("a"))
    await settle()
    assert not waiting.done()
    contended[0] = False
    async with asyncio.timeout(30):
        await waiting
