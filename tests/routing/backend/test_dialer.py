"""Parallel attempts, on real sockets where that is what matters."""

import asyncio
import errno
import gc
import math
import os
import socket
import time
from contextlib import AsyncExitStack, suppress
from operator import lt

import pytest

from routing.backend.dialer import STAGGER_SECONDS, Dialer, connecting, first_connected
from routing.backend.names import RENEW_SECONDS, Address, NameTable
from routing.errors import Overloaded
from tests.clock import FakeClock
from tests.resilience.waiting import until
from tests.routing.backend.names import FakeResolver, backends, found, unresponsive

pytestmark = pytest.mark.slow
ROUNDS = 5
"""How often times are measured, until they are within their limits: the machine may be busy."""


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def connect_seconds(dialer: Dialer, port: int, expected: str) -> float:
    """How long a connection takes, which must lead to the expected address."""
    started = time.monotonic()
    address, sock = await dialer.connect("crm.example", port)
    seconds = time.monotonic() - started
    assert address.socket_address[0] == sock.getpeername()[0] == expected
    sock.close()
    return seconds


@pytest.mark.alone
@pytest.mark.parametrize("alive", ["127.0.0.5", "::1"])
async def test_a_dead_first_address_costs_less_than_300_ms_and_then_nothing(alive: str) -> None:
    limits = (0.3, 0.1, 0.1)
    async with backends(alive) as port, unresponsive("127.0.0.4", port):
        for _ in range(ROUNDS):
            dialer = Dialer(NameTable(lookup=FakeResolver("127.0.0.4", alive)))
            times = [await connect_seconds(dialer, port, alive) for _ in limits]
            await dialer.close()
            if is_within := all(map(lt, times, limits)):
                break
    assert is_within, times


@pytest.mark.alone
async def test_a_refused_address_costs_no_delay() -> None:
    times: list[float] = []
    async with backends("127.0.0.5") as port:
        while len(times) < ROUNDS and min(times, default=1.0) >= 0.2:
            dialer = Dialer(NameTable(lookup=FakeResolver("::1", "127.0.0.4", "127.0.0.5")))
            times.append(await connect_seconds(dialer, port, "127.0.0.5"))
            await dialer.close()
    assert min(times) < 0.2


async def test_the_first_error_is_raised_if_all_fail_and_no_socket_is_left_open() -> None:
    async with backends("127.0.0.5") as port:
        before = open_files()
        dialer = Dialer(NameTable(lookup=FakeResolver("127.0.0.6", "127.0.0.7")))
        with pytest.raises(ConnectionRefusedError):
            await dialer.connect("crm.example", port)
        await dialer.close()
        assert open_files() <= before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_a_limit_of_the_gateway_itself_is_no_failure_of_the_target(number: int) -> None:
    with pytest.raises(Overloaded) as raised:
        async with connecting(5, math.inf):
            raise OSError(number, "too many")
    assert raised.value.retry_after == 1
    assert "open files" in raised.value.reason or number == errno.ENOBUFS


async def test_a_cancelled_connect_leaves_no_socket_open_and_looks_the_name_up_again() -> None:
    async with backends("127.0.0.5") as port, unresponsive("127.0.0.4", port), unresponsive("127.0.0.6", port):
        clock, resolver = FakeClock(), FakeResolver("127.0.0.4", "127.0.0.6")
        dialer = Dialer(NameTable(clock, resolver))
        before = open_files()
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await dialer.connect("crm.example", port)
            clock.advance(RENEW_SECONDS)
        await until(lambda: open_files() <= before)
        assert len(resolver.calls) == 2
        await dialer.close()


@pytest.mark.alone
async def test_addresses_that_took_all_the_time_are_the_last_for_the_next_connection() -> None:
    """Else each connection would begin with as many of them as its time allows."""
    silent = [f"127.0.0.{last}" for last in range(11, 19)]
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(backends("127.0.0.5"))
        for host in silent:
            await stack.enter_async_context(unresponsive(host, port))
        dialer = Dialer(NameTable(FakeClock(), FakeResolver("127.0.0.5", *silent)))
        connected = []
        for number in range(6):
            with suppress(TimeoutError):
                async with asyncio.timeout(2.5 * STAGGER_SECONDS):  # three attempts
                    _, sock = await dialer.connect("crm.example", port)
                    sock.close()
                    connected.append(number)
        await dialer.close()
    assert connected[:2] == [0, 4]


async def test_a_name_that_moved_is_found_when_the_old_address_refuses() -> None:
    clock, resolver = FakeClock(), FakeResolver("127.0.0.4")
    async with backends("127.0.0.5") as port:
        dialer = Dialer(NameTable(clock, resolver))
        with pytest.raises(ConnectionRefusedError):
            await dialer.connect("crm.example", port)
        clock.advance(RENEW_SECONDS)
        resolver.hosts = ("127.0.0.5",)
        _, sock = await dialer.connect("crm.example", port)
        assert sock.getpeername()[0] == "127.0.0.5"
        sock.close()
        await dialer.close()


async def test_of_two_attempts_that_succeed_at_once_one_socket_is_closed() -> None:
    sockets: list[socket.socket] = []
    ready = asyncio.Event()

    async def connect(_: Address) -> socket.socket:
        await ready.wait()
        sockets.append(socket.socket())
        return sockets[-1]

    both = [Address(*found(host, 80)) for host in ("127.0.0.4", "127.0.0.5")]
    asyncio.get_running_loop().call_later(0.1, ready.set)
    _, winner = await first_connected(both, connect, stagger=0.01)
    await until(lambda: [sock.fileno() for sock in sockets if sock is not winner] == [-1])
    assert winner.fileno() != -1
    winner.close()
