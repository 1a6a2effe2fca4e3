"""Queries that a server does not answer, with a real one that is stopped, or in which somebody holds a lock."""

import contextlib
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from gateway_project.postgresql import connection as module
from gateway_project.postgresql.connection import LimitedConnection, QueryTimeout
from gateway_project.postgresql.pool import PAUSE_SECONDS, ConnectionPool
from gateway_project.postgresql.query_limit import QueryLimit
from tests.clock import FakeClock
from tests.postgres_server import PostgresServer
from tests.processes import children, eventually

pytestmark = pytest.mark.slow
SHORT = 0.3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with contextlib.closing(PostgresServer()) as server:
        yield server.start()


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> QueryLimit:
    """That of the connections of a test."""
    limit = QueryLimit()
    monkeypatch.setattr(LimitedConnection, "limit", limit)
    return limit


def connect(server: PostgresServer) -> LimitedConnection:
    return LimitedConnection.open(dict(conninfo_to_dict(server.url)))


@contextlib.contextmanager
def stopped(server: PostgresServer) -> Iterator[None]:
    """As one whose host is overloaded: the kernel still accepts what is sent to it."""
    main = int((server.directory / "cluster" / "postmaster.pid").read_text().split()[0])
    processes = [main, *children(main)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)


def test_a_query_that_waits_for_a_lock_is_cancelled(server: PostgresServer, limit: QueryLimit) -> None:
    """It waits in the server no more, where each attempt would take one of its connections."""
    with psycopg.connect(server.url) as holder, psycopg.connect(server.url, autocommit=True) as observer:
        holder.execute("CREATE TABLE locked (number integer)")
        holder.commit()
        holder.execute("LOCK TABLE locked")
        limit.begin(SHORT)
        waiting = connect(server)
        with pytest.raises(QueryTimeout, match="has not answered for"):
            waiting.execute("SELECT * FROM locked")
        assert waiting.closed
        assert eventually(lambda: observer.execute(WAITING).fetchone() == (0,))


def test_queries_of_commands_have_no_limit(server: PostgresServer, limit: QueryLimit) -> None:
    limit.end_within(0)
    with connect(server) as connection:
        assert connection.execute("SELECT 'done' FROM pg_sleep(0.3)").fetchone() == ("done",)


def test_a_pool_notices_that_its_server_is_stopped(
    server: PostgresServer, limit: QueryLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit for queries too. A moment afterwards it can be used as before."""
    monkeypatch.setattr(module, "CHECK_SECONDS", SHORT)
    monkeypatch.setattr(module, "CANCEL_SECONDS", SHORT)
    clock = FakeClock()
    pool = ConnectionPool(lambda: connect(server), size=1, timeout=0.0, idle=60.0, clock=clock)
    pool.putconn(pool.getconn())
    with stopped(server), pytest.raises(QueryTimeout):
        pool.getconn()
    clock.advance(PAUSE_SECONDS)
    found = pool.getconn()
    assert found.execute("SELECT 1").fetchone() == (1,)
    pool.putconn(found)
    pool.close()


def test_a_process_that_ends_waits_no_longer(server: PostgresServer, limit: QueryLimit) -> None:
    limit.begin(60)
    sleeping = connect(server)
    with ThreadPoolExecutor(1) as thread:
        query = thread.submit(sleeping.execute, "SELECT pg_sleep(60)")
        limit.end_within(0)
        with pytest.raises(QueryTimeout):
            query.result()
    with pytest.raises(QueryTimeout, match="the process is ending"):
        connect(server)


def test_the_earliest_of_the_limits_holds() -> None:
    clock = FakeClock()
    limit = QueryLimit(clock)
    began = limit.now()
    assert limit.deadline(began) == float("inf")
    limit.begin(20)
    assert limit.deadline(began) == began + 20
    assert limit.deadline(began, 5) == began + 5
    clock.advance(2)
    limit.end_within(10)
    assert limit.deadline(began) == began + 12
    assert limit.deadline(began + 11) == began + 12
    limit.begin(20)
    assert limit.deadline(began) == began + 20
