"""A pool of connections that reports a server that is away at once, and forgets no connection."""

from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from gateway_project.postgresql.connection import QueryTimeout
from gateway_project.postgresql.pool import LIFETIME_SECONDS, PAUSE_SECONDS, ConnectionPool
from tests.clock import FakeClock


class Info:
    transaction_status = TransactionStatus.IDLE


class Connection:
    """As much of psycopg's as a pool uses."""

    def __init__(self, server: "Server") -> None:
        self.server = server
        self.info = Info()
        self.autocommit = True
        self.closed = False
        self.is_usable = True
        self.rollbacks = 0

    def check(self) -> None:
        self.server.answer()
        if self not in self.server.known:
            raise psycopg.OperationalError("the connection is lost")

    def rollback(self) -> None:
        self.check()
        self.rollbacks += 1
        self.info.transaction_status = TransactionStatus.IDLE

    def close(self) -> None:
        self.closed = True


class Server:
    def __init__(self) -> None:
        self.is_away = self.is_silent = False
        self.asked = 0
        self.known: list[Connection] = []

    def answer(self) -> None:
        self.asked += 1
        if self.is_silent:
            raise QueryTimeout("no answer")
        if self.is_away:
            raise psycopg.OperationalError("connection refused")

    def connect(self) -> Connection:
        self.answer()
        self.known.append(Connection(self))
        return self.known[-1]

    def restart(self) -> None:
        self.known = []


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pool(server: Server, clock: FakeClock) -> ConnectionPool:
    return ConnectionPool(server.connect, size=2, timeout=0.0, idle=60.0, clock=clock)


def test_a_connection_that_was_returned_is_used_again(pool: ConnectionPool, server: Server) -> None:
    first = pool.getconn()
    first._pool.putconn(first)
    assert pool.getconn() is first
    assert len(server.known) == 1


def test_no_more_than_its_size_are_open(pool: ConnectionPool) -> None:
    taken = [pool.getconn(), pool.getconn()]
    with pytest.raises(psycopg.OperationalError, match="all 2 connections are in use"):
        pool.getconn()
    pool.putconn(taken[0])
    assert pool.getconn() is taken[0]


def test_a_server_that_is_away_is_reported_at_once_and_its_return_noticed(pool: ConnectionPool, server: Server) -> None:
    pool.putconn(pool.getconn())
    server.is_away = True
    for _ in range(5):  # more often than there are connections: none is lost
        with pytest.raises(psycopg.OperationalError, match="connection refused"):
            pool.getconn()
    server.is_away = False
    assert pool.getconn().closed is False


def test_connections_that_the_server_has_forgotten_are_replaced(pool: ConnectionPool, server: Server) -> None:
    former = [pool.getconn(), pool.getconn()]
    for connection in former:
        pool.putconn(connection)
    server.restart()
    assert pool.getconn() not in former
    assert all(connection.closed for connection in former)


def test_an_unfinished_transaction_is_rolled_back(pool: ConnectionPool) -> None:
    connection = pool.getconn()
    connection.info.transaction_status, connection.autocommit = TransactionStatus.INERROR, False
    pool.putconn(connection)
    assert (connection.rollbacks, connection.autocommit) == (1, True)
    assert pool.getconn() is connection


@pytest.mark.parametrize("spoil", ["closed", "active", "lost"])
def test_a_connection_that_cannot_be_used_is_closed(pool: ConnectionPool, server: Server, spoil: str) -> None:
    connection = pool.getconn()
    match spoil:
        case "closed":
            connection.closed = True
        case "active":
            connection.info.transaction_status = TransactionStatus.ACTIVE
        case "lost":
            connection.info.transaction_status = TransactionStatus.INTRANS
            server.restart()
    pool.putconn(connection)
    assert connection.closed
    assert pool.getconn() is not connection


def test_connections_are_closed_after_a_while(pool: ConnectionPool, clock: FakeClock) -> None:
    first, second = pool.getconn(), pool.getconn()
    pool.putconn(first)
    clock.advance(61)
    pool.putconn(second)
    assert (first.closed, second.closed) == (True, False)
    assert pool.getconn() is second
    clock.advance(LIFETIME_SECONDS)
    pool.putconn(second)
    assert second.closed


def test_a_pool_that_is_closed_closes_all_and_can_be_used_again(pool: ConnectionPool) -> None:
    idle, used = pool.getconn(), pool.getconn()
    pool.putconn(idle)
    pool.close()
    pool.putconn(used)
    assert (idle.closed, used.closed) == (True, True)
    pool.open()
    made: list[Any] = [pool.getconn(), pool.getconn()]
    assert not any(connection.closed for connection in made)


def test_a_server_that_does_not_answer_is_asked_once(pool: ConnectionPool, server: Server, clock: FakeClock) -> None:
    """The check of each idle connection would take seconds, and so would that of each read that follows."""
    taken = [pool.getconn(), pool.getconn()]
    for connection in taken:
        pool.putconn(connection)
    server.is_silent, server.asked = True, 0
    with pytest.raises(QueryTimeout):
        pool.getconn()
    clock.advance(PAUSE_SECONDS - 0.1)
    with pytest.raises(psycopg.OperationalError, match="has not answered"):
        pool.getconn()
    assert server.asked == 1
    server.is_silent = False
    clock.advance(0.1)
    assert pool.getconn() in taken
    assert pool.getconn() not in taken


def test_a_server_that_accepts_no_connection_in_time_is_asked_once(server: Server, clock: FakeClock) -> None:
    def connect() -> Connection:
        server.asked += 1
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    pool = ConnectionPool(connect, size=1, timeout=0.0, idle=60.0, clock=clock)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        pool.getconn()
    with pytest.raises(psycopg.OperationalError, match="has not answered"):
        pool.getconn()
    clock.advance(PAUSE_SECONDS)
    with pytest.raises(psycopg.errors.ConnectionTimeout):
        pool.getconn()
    assert server.asked == 2
