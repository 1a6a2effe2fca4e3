"""Kept connections and a target's name that moves, on real sockets with a fake clock."""

import asyncio

import pytest

from routing.backend.client import MAX_AGE_SECONDS, Backend
from routing.backend.dialer import Dialer
from routing.backend.names import REFRESH_SECONDS, RETIRE_SECONDS, NameTable
from routing.errors import BadGateway
from routing.router.policy import Target
from tests.clock import FakeClock
from tests.origin import Peer, ScriptedOrigin
from tests.routing.backend.calls import GENEROUS, call, read
from tests.routing.backend.names import FakeResolver, backends


class World:
    """A client of `crm.example`, whose busy connection is used at least every second."""

    def __init__(self, *hosts: str) -> None:
        self.clock = FakeClock()
        self.resolver = FakeResolver(*hosts)
        self.names = NameTable(self.clock, self.resolver)
        self.backend = Backend(clock=self.clock, dialer=Dialer(self.names))

    async def fetch(self, port: int) -> str:
        response = await self.backend.send(Target(f"http://crm.example:{port}"), call(), GENEROUS)
        return (await read(response)).decode()

    async def refresh(self) -> None:
        self.names.refresh()
        for _ in range(5):
            await asyncio.sleep(0)

    async def fetch_each_second(self, port: int, seconds: float) -> list[str]:
        results = []
        for second in range(int(seconds)):
            if second % REFRESH_SECONDS == 0:
                await self.refresh()
            results.append(await self.fetch(port))
            self.clock.advance(1)
        return results


async def test_a_busy_connection_moves_within_60_seconds_of_its_name() -> None:
    world = World("127.0.0.2")
    async with backends("127.0.0.2", "127.0.0.3") as port:
        assert await world.fetch(port) == "127.0.0.2"
        world.resolver.hosts = ("127.0.0.3",)
        results = await world.fetch_each_second(port, 90)
        assert set(results[:20]) == {"127.0.0.2"}
        assert set(results[60:]) == {"127.0.0.3"}
        await world.backend.close()


async def test_a_connection_whose_address_remains_is_kept_when_others_come_and_go() -> None:
    world = World("127.0.0.2")
    async with backends("127.0.0.2", "127.0.0.3") as port:
        await world.fetch(port)
        for hosts in (("127.0.0.3", "127.0.0.2"), ("127.0.0.2",), ("127.0.0.3",), ("127.0.0.2",)):
            world.resolver.hosts = hosts
            await world.refresh()
            world.clock.advance(RETIRE_SECONDS - 1)
            assert await world.fetch(port) == "127.0.0.2"
        await world.backend.close()


async def test_failed_lookups_do_not_end_a_connection_before_its_age() -> None:
    world = World("127.0.0.2")
    async with backends("127.0.0.2") as port:
        await world.fetch(port)
        world.resolver.error = OSError("the resolver is down")
        results = await world.fetch_each_second(port, 2 * MAX_AGE_SECONDS)
        assert set(results) == {"127.0.0.2"}
        await world.backend.close()


async def test_a_busy_connection_ends_at_its_age() -> None:
    clock = FakeClock()
    backend = Backend(clock=clock)

    async def answer(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with ScriptedOrigin(answer) as origin:
        for _ in range(int(MAX_AGE_SECONDS * 0.9)):
            await read(await backend.send(origin.target, call(), GENEROUS))
            clock.advance(1)
        assert origin.connections == 1
        clock.advance(10)
        await read(await backend.send(origin.target, call(), GENEROUS))
        for _ in range(int(MAX_AGE_SECONDS * 0.1) + 1):
            await read(await backend.send(origin.target, call(), GENEROUS))
            clock.advance(1)
        assert origin.connections == 2
        await backend.close()


async def test_a_call_is_not_cut_when_its_connection_ages() -> None:
    clock = FakeClock()
    backend = Backend(clock=clock)

    async def answer(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        clock.advance(10 * MAX_AGE_SECONDS)
        await peer.send(b"cd")

    async with ScriptedOrigin(answer) as origin:
        for _ in range(2):
            assert await read(await backend.send(origin.target, call(), GENEROUS)) == b"abcd"
        assert origin.connections == 2
        await backend.close()


async def test_connections_are_spread_over_all_addresses() -> None:
    world = World("127.0.0.2", "127.0.0.3", "127.0.0.4")
    async with backends("127.0.0.2", "127.0.0.3", "127.0.0.4") as port:
        results = await asyncio.gather(*(world.fetch(port) for _ in range(9)))
        assert {host: results.count(host) for host in results} == dict.fromkeys(world.resolver.hosts, 3)
        assert len(world.resolver.calls) == 1
        await world.backend.close()


async def test_a_name_without_addresses_is_a_bad_gateway() -> None:
    world = World()
    with pytest.raises(BadGateway) as caught:
        await world.fetch(80)
    assert caught.value.reason == "no such name"
    await world.backend.close()
