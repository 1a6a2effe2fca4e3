"""The limit on the connections of one client address."""

import asyncio
from ipaddress import ip_network

import pytest

from routing.http import Response
from routing.http1.counted_connection import ConnectionLimit, CountedConnection
from routing.messages.proxies import TrustedProxies
from tests.http1_client import MemoryTransport, Worker

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def connect(
    limit: ConnectionLimit, peer: str, worker: Worker | None = None
) -> tuple[CountedConnection, MemoryTransport]:
    worker = worker or Worker(lambda _: Response(204))
    connection = CountedConnection(worker, asyncio.get_running_loop(), limit)
    transport = MemoryTransport(peer)
    transport.protocol = connection
    connection.connection_made(transport)
    return connection, transport


async def test_a_connection_above_the_limit_is_closed_and_an_ended_one_counts_no_more() -> None:
    limit = ConnectionLimit(2)
    first, second, third = (connect(limit, "192.0.2.1")[1] for _ in range(3))
    assert [first.closed, second.closed, third.closed] == [False, False, True]
    assert connect(limit, "192.0.2.1")[1].closed  # the refused one was not counted out
    assert not connect(limit, "192.0.2.2")[1].closed
    first.close()
    assert not connect(limit, "192.0.2.1")[1].closed
    assert connect(limit, "192.0.2.1")[1].closed


async def test_nothing_sent_on_a_refused_connection_is_answered() -> None:
    limit = ConnectionLimit(1)
    connect(limit, "192.0.2.1")
    connection, transport = connect(limit, "192.0.2.1")
    connection.data_received(GET)
    assert transport.received == b""


@pytest.mark.parametrize(("peer", "same"), [("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "::ffff:192.0.2.1")])
async def test_addresses_of_one_client_are_counted_together(peer: str, same: str) -> None:
    limit = ConnectionLimit(1)
    assert not connect(limit, peer)[1].closed
    assert connect(limit, same)[1].closed


async def test_trusted_proxies_are_exempt_and_the_clients_that_they_name_are_not() -> None:
    limit = ConnectionLimit(1, TrustedProxies((ip_network("10.0.0.0/8"),)))
    connections = [connect(limit, "10.0.0.1") for _ in range(3)]
    assert not any(transport.closed for _, transport in connections)
    for connection, _ in connections[:2]:
        connection.set_client(("203.0.113.8", 1), "https")
    assert [transport.closed for _, transport in connections] == [False, True, False]
    connections[0][1].close()
    connections[2][0].set_client(("203.0.113.8", 1), "https")
    assert not connections[2][1].closed


async def test_files_are_left_for_what_the_gateway_depends_on(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever the clients are, trusted proxies too."""
    limit = ConnectionLimit(0, TrustedProxies((ip_network("10.0.0.0/8"),)), total=2)
    worker = Worker(lambda _: Response(204))
    made = [connect(limit, f"10.0.0.{number}", worker) for number in range(3)]
    assert [transport.closed for _, transport in made] == [False, False, True]
    made[2][0].connection_lost(None)
    assert connect(limit, "192.0.2.1", worker)[1].closed
    assert len(caplog.records) == 1
    worker.connections.clear()
    assert not connect(limit, "192.0.2.1", worker)[1].closed


async def test_zero_is_no_limit() -> None:
    limit = ConnectionLimit(0)
    assert not any(connect(limit, "192.0.2.1")[1].closed for _ in range(50))
