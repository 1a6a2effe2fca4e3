"""A server that refuses writes, or has ended a transaction that was idle: an outage, and no fault of the code."""

import contextlib
import time
from collections.abc import Iterator
from typing import Protocol

import pytest
from django.db import OperationalError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import ConnectionHandler

from gateway_project import checks
from gateway_project.django_settings.databases import databases, explain
from gateway_project.doctor.database import check_role
from gateway_project.doctor.finding import Level
from routing.observability.health import Health, Unhealthy
from tests.postgres_server import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
READ_ONLY = "?options=-c%20default_transaction_read_only%3Don"
SHORT_LIVED = "?options=-c%20idle_in_transaction_session_timeout%3D50"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with contextlib.closing(PostgresServer()) as server:
        yield server.start()


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


@contextlib.contextmanager
def connected(server: HasUrl, parameters: str) -> Iterator[BaseDatabaseWrapper]:
    handler = ConnectionHandler({"default": {}, "tried": databases(server.url + parameters)["default"]})
    connection = handler["tried"]
    try:
        yield connection
    finally:
        connection.close()
        connection.close_pool()  # type: ignore[attr-defined] # PostgreSQL's alone


def execute(connection: BaseDatabaseWrapper, query: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query)


def test_a_refused_write_is_an_outage_that_commands_explain(server: PostgresServer) -> None:
    with connected(server, READ_ONLY) as connection:
        with pytest.raises(OperationalError, match="read-only") as refused:
            execute(connection, "CREATE TABLE refused (number integer)")
        assert explain(refused.value) == (
            "the database is unavailable: cannot execute CREATE TABLE in a read-only transaction"
        )
        with pytest.raises(ProgrammingError):
            execute(connection, "SELECT * FROM missing")


def test_a_connection_that_refuses_writes_is_not_used_again(server: PostgresServer) -> None:
    """A pooler, or DATABASE_URL, may lead to another server by now."""
    with connected(server, "") as connection:
        before = backend_of(connection)
        execute(connection, "SET default_transaction_read_only = on")
        with pytest.raises(OperationalError, match="read-only"):
            execute(connection, "CREATE TABLE accepted (number integer)")
        connection.close()
        assert backend_of(connection) != before
        execute(connection, "CREATE TABLE accepted (number integer)")


def backend_of(connection: BaseDatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_transaction_that_the_server_has_ended_is_an_outage(server: PostgresServer) -> None:
    with connected(server, SHORT_LIVED) as connection:
        execute(connection, "SELECT 1")
        connection.set_autocommit(False)
        execute(connection, "SELECT 1")
        time.sleep(0.3)
        with pytest.raises(OperationalError):
            execute(connection, "SELECT 1")
        connection.close()
        execute(connection, "SELECT 1")


def test_health_and_doctor_tell_of_it(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with connected(server, READ_ONLY) as connection:
        monkeypatch.setattr(checks, "connection", connection)
        with pytest.raises(Unhealthy) as found:
            checks.check_database()
        assert found.value.status is Health.DEGRADED
        findings = {(each.level, each.message) for each in check_role(connection)}
        assert findings == {(Level.ERROR, "a primary that is read only")}
