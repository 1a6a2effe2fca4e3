"""What is known of a target's name, with a fake resolver and a fake clock."""

import asyncio
import socket
import threading
from math import inf

import pytest

from routing.backend.names import (
    FORGET_SECONDS,
    MAX_ADDRESSES,
    REFRESHES_AT_ONCE,
    RENEW_SECONDS,
    RETIRE_SECONDS,
    Address,
    NameTable,
    attempt_order,
)
from tests.clock import FakeClock
from tests.routing.backend.names import FakeResolver, found

NAME = ("crm.example", 80)


def hosts(addresses: list[Address]) -> list[str]:
    return [address.socket_address[0] for address in addresses]


def addresses(*hosts: str) -> list[Address]:
    return [Address(*found(host, 80)) for host in hosts]


async def refresh(names: NameTable) -> None:
    names.refresh()
    for _ in range(5):
        await asyncio.sleep(0)


async def test_callers_of_one_name_share_a_lookup_and_its_result_is_kept() -> None:
    resolver = FakeResolver("127.0.0.2")
    names = NameTable(FakeClock(), resolver)
    resolver.answered.clear()
    waiting = [asyncio.create_task(names.addresses(*NAME)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    resolver.answered.set()
    results = await asyncio.gather(*waiting[1:])
    assert all(hosts(result) == ["127.0.0.2"] for result in results)
    assert hosts(await names.addresses(*NAME)) == ["127.0.0.2"]
    assert len(resolver.calls) == 1
    await names.close()


async def test_a_slow_lookup_in_the_background_delays_nobody_and_is_the_only_one() -> None:
    resolver = FakeResolver("127.0.0.2")
    names = NameTable(FakeClock(), resolver)
    await names.addresses(*NAME)
    resolver.answered.clear()
    for _ in range(3):
        await refresh(names)
    async with asyncio.timeout(1):
        assert hosts(await names.addresses(*NAME)) == ["127.0.0.2"]
    assert len(resolver.calls) == 2
    await names.close()


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_NONAME, "gone"), OSError("down"), None])
async def test_a_failed_lookup_keeps_the_last_addresses(error: Exception | None) -> None:
    resolver = FakeResolver("127.0.0.2")
    names = NameTable(FakeClock(), resolver)
    [address] = await names.addresses(*NAME)
    resolver.error, resolver.hosts = error, ()
    await refresh(names)
    assert await names.addresses(*NAME) == [address]
    assert address.retires_at == inf
    await names.close()


async def test_a_failure_is_not_kept() -> None:
    resolver = FakeResolver("127.0.0.2")
    names = NameTable(FakeClock(), resolver)
    resolver.error = socket.gaierror(socket.EAI_NONAME, "not yet")
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await names.addresses(*NAME)
    resolver.error = None
    assert hosts(await names.addresses(*NAME)) == ["127.0.0.2"]
    assert len(resolver.calls) == 3
    await names.close()


async def test_an_empty_answer_is_no_such_name() -> None:
    with pytest.raises(socket.gaierror):
        await NameTable(FakeClock(), FakeResolver()).addresses(*NAME)


async def test_an_address_that_is_no_longer_returned_retires_and_one_that_returns_does_not() -> None:
    clock, resolver = FakeClock(), FakeResolver("127.0.0.2")
    names = NameTable(clock, resolver)
    [old] = await names.addresses(*NAME)
    resolver.hosts = ("127.0.0.3",)
    await refresh(names)
    assert hosts(await names.addresses(*NAME)) == ["127.0.0.3"]
    assert old.retires_at == clock() + RETIRE_SECONDS
    retires_at = old.retires_at
    clock.advance(RETIRE_SECONDS / 2)
    await refresh(names)
    assert old.retires_at == retires_at
    resolver.hosts = ("127.0.0.3", "127.0.0.2")
    await refresh(names)
    assert old.retires_at == inf
    assert old in await names.addresses(*NAME)
    await names.close()


async def test_a_retired_address_that_returns_is_a_new_one() -> None:
    clock, resolver = FakeClock(), FakeResolver("127.0.0.2")
    names = NameTable(clock, resolver)
    [old] = await names.addresses(*NAME)
    for answer in ("127.0.0.3", "127.0.0.2"):
        resolver.hosts = (answer,)
        await refresh(names)
        clock.advance(RETIRE_SECONDS + 1)
        await refresh(names)
    assert old not in await names.addresses(*NAME)
    assert old.retires_at < clock()
    await names.close()


async def test_a_name_is_looked_up_early_at_most_once_a_second() -> None:
    clock, resolver = FakeClock(), FakeResolver("127.0.0.2")
    names = NameTable(clock, resolver)
    await names.addresses(*NAME)
    assert not await names.renew(*NAME)
    assert len(resolver.calls) == 1
    clock.advance(RENEW_SECONDS)
    resolver.hosts = ("127.0.0.3",)
    assert await names.renew(*NAME)
    clock.advance(RENEW_SECONDS)
    assert not await names.renew(*NAME)
    assert not await names.renew("unknown.example", 80)
    assert len(resolver.calls) == 3
    await names.close()


async def test_a_name_that_is_not_used_is_dropped() -> None:
    clock, resolver = FakeClock(), FakeResolver("127.0.0.2")
    names = NameTable(clock, resolver)
    await names.addresses(*NAME)
    clock.advance(FORGET_SECONDS)
    await refresh(names)
    assert len(resolver.calls) == 1
    await names.addresses(*NAME)
    assert len(resolver.calls) == 2
    await names.close()


async def test_names_in_use_are_looked_up_again_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routing.backend.names.REFRESH_SECONDS", 0.01)
    resolver = FakeResolver("127.0.0.2")
    names = NameTable(lookup=resolver)
    await names.addresses(*NAME)
    async with asyncio.timeout(10):
        for _ in range(4):
            await resolver.called.wait()
            resolver.called.clear()
    await names.close()
    count = len(resolver.calls)
    await asyncio.sleep(0.05)
    assert len(resolver.calls) == count


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_an_address_is_not_looked_up(address: str) -> None:
    resolver = FakeResolver("127.0.0.9")
    assert hosts(await NameTable(FakeClock(), resolver).addresses(address, 80)) == [address]
    assert not resolver.calls


async def test_localhost_is_looked_up_by_the_system() -> None:
    names = NameTable()
    assert set(hosts(await names.addresses("localhost", 80))) <= {"127.0.0.1", "::1"}
    await names.close()


def test_families_alternate_from_the_first() -> None:
    order = attempt_order(addresses("::1", "::2", "::3", "127.0.0.1", "127.0.0.2"), 0)
    assert hosts(order) == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]


def test_connections_are_spread_over_the_addresses_of_a_family() -> None:
    all_three = addresses("127.0.0.1", "127.0.0.2", "127.0.0.3")
    assert {hosts(attempt_order(all_three, turn))[0] for turn in range(3)} == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    both = addresses("::1", "127.0.0.1")
    assert all(hosts(attempt_order(both, turn))[0] == "::1" for turn in range(3))


def test_an_address_that_failed_is_the_last_and_attempts_are_bounded() -> None:
    some = addresses("127.0.0.1", "127.0.0.2")
    some[0].failed = True
    assert all(hosts(attempt_order(some, turn)) == ["127.0.0.2", "127.0.0.1"] for turn in range(3))
    many = addresses(*(f"127.0.1.{number}" for number in range(100)))
    assert len(attempt_order(many, 0)) == MAX_ADDRESSES


async def test_names_that_nobody_answers_for_delay_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
        if host != NAME[0]:
            ended.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.2", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    names = NameTable()
    waiting = [asyncio.create_task(names.addresses(f"dead{number}.example", 80)) for number in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(10):
            assert hosts(await names.addresses(*NAME)) == ["127.0.0.2"]
    finally:
        ended.set()
    for each in waiting:
        with pytest.raises(socket.gaierror):
            await each
    await names.close()


async def test_lookups_in_the_background_are_few_at_a_time_and_one_that_is_needed_does_not_wait_for_them() -> None:
    resolver, clock = FakeResolver("127.0.0.2"), FakeClock()
    names = NameTable(clock, resolver)
    for number in range(REFRESHES_AT_ONCE + 3):
        await names.addresses(f"crm{number}.example", 80)
    resolver.answered.clear()
    resolver.calls.clear()
    for _ in range(2):
        await refresh(names)
    assert len(resolver.calls) == REFRESHES_AT_ONCE
    clock.advance(RENEW_SECONDS)
    needed = names.expedite(f"crm{REFRESHES_AT_ONCE}.example", 80)
    assert needed is not None
    await asyncio.sleep(0)
    assert len(resolver.calls) == REFRESHES_AT_ONCE + 1
    resolver.answered.set()
    await needed
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(resolver.calls) >= REFRESHES_AT_ONCE + 3
    await names.close()
