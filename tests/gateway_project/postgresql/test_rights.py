"""A role that lacks rights, a schema or connections: commands and `doctor` say what to do about it."""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest
from django.db import DatabaseError
from django.db.migrations.exceptions import MigrationSchemaMissing

from gateway_project.django_settings.databases import explain
from gateway_project.doctor.database import check_connections, check_database, check_encoding, check_transactions
from gateway_project.doctor.finding import Level
from tests.gateway_project.postgresql.test_read_only import connected, execute
from tests.gateway_project.test_doctor import read
from tests.postgres_server import PgBouncer, PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.django_db]
SEARCH_PATH = "?options=-c%20search_path%3Dmissing"
TIMEOUT = "?options=-c%20statement_timeout%3D1"


class Address(NamedTuple):
    url: str


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with contextlib.closing(PostgresServer()) as server:
        server.start()
        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute("CREATE ROLE guest LOGIN CONNECTION LIMIT 3")
            owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            owner.execute("CREATE TABLE theirs (number integer)")
            owner.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        yield server


@pytest.fixture
def guest(server: PostgresServer) -> Address:
    """A role that owns nothing."""
    return Address(server.url.replace("//gateway@", "//guest@"))


@pytest.mark.parametrize(
    ("parameters", "query", "reason", "advice"),
    [
        ("", "SELECT * FROM theirs", "permission denied for table theirs", "ALTER DATABASE NAME OWNER TO"),
        ("", "CREATE TABLE ours (number integer)", "permission denied for schema public", "ALTER DATABASE NAME OWNER"),
        (SEARCH_PATH, "CREATE TABLE ours (number integer)", "no schema has been selected", "RESET search_path"),
        (TIMEOUT, "SELECT pg_sleep(5)", "canceling statement due to statement timeout", "raise the statement_timeout"),
    ],
)
def test_a_refusal_is_explained(parameters: str, query: str, reason: str, advice: str, guest: Address) -> None:
    with connected(guest, parameters) as connection, pytest.raises(DatabaseError) as refused:
        execute(connection, query)
    explained = explain(refused.value) or ""
    assert explained.startswith(f"the database refuses it: {reason}")
    assert advice in explained
    assert "\n" not in explained


def test_the_table_of_migrations_that_cannot_be_made_is_explained(guest: Address) -> None:
    """As Django's recorder of migrations raises it: with a context, and without a cause."""
    with connected(guest, "") as connection, pytest.raises(DatabaseError) as refused:
        execute(connection, "CREATE TABLE django_migrations (number integer)")
    error = MigrationSchemaMissing(f"Unable to create the django_migrations table ({refused.value})")
    error.__context__ = refused.value
    assert "permission denied for schema public" in (explain(error) or "")


@pytest.mark.parametrize(
    ("parameters", "advice"), [("", "may not create tables in the schema public"), (SEARCH_PATH, "search_path exists")]
)
def test_doctor_says_what_stands_in_the_way_of_migrations(parameters: str, advice: str, guest: Address) -> None:
    with connected(guest, parameters) as connection:
        (found,) = (each for each in check_database(read(), connection) if each.check == "migrations")
    assert found.level is Level.ERROR
    assert advice in found.advice


def test_doctor_names_tables_without_rights(server: PostgresServer, guest: Address) -> None:
    with psycopg.connect(server.url) as owner:
        owner.execute("CREATE TABLE routing_service (number integer)")
        owner.execute("GRANT SELECT ON routing_service TO guest")
    with connected(guest, "") as connection:
        (found,) = (each for each in check_database(read(), connection) if each.check == "database rights")
    assert found.message == "the role may not read and write routing_service"


def test_doctor_compares_the_limits_of_the_role(guest: Address) -> None:
    with connected(guest, "") as connection:
        assert check_connections(connection, 3).level is Level.OK
        found = check_connections(connection, 4)
        assert found.message == "3 connections; this gateway opens at most 4"
        assert "the role's CONNECTION LIMIT" in found.advice


def test_doctor_warns_of_an_encoding_other_than_utf_8(server: PostgresServer) -> None:
    with connected(server, "") as connection:
        assert list(check_encoding(connection)) == []
    with connected(Address(server.url.replace("/postgres", "/latin")), "") as connection:
        assert [each.level for each in check_encoding(connection)] == [Level.WARNING]


def test_a_role_with_another_form_of_dates_reads_times(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as owner:
        owner.execute("CREATE ROLE german LOGIN")
        owner.execute("ALTER ROLE german SET datestyle = 'German'")
    with contextlib.closing(PgBouncer(server)) as pooler:
        for url in (server.url, pooler.start().url):
            address = Address(url.replace("//gateway@", "//german@"))
            with connected(address, "") as connection, connection.cursor() as cursor:
                cursor.execute("SELECT now()")
                assert cursor.fetchone()[0].tzinfo is not None


def test_doctor_finds_a_pooler_that_refuses_transactions(server: PostgresServer) -> None:
    with contextlib.closing(PgBouncer(server, mode="statement")) as pooler:
        pooler.start()
        with connected(pooler, "") as connection:
            (found,) = check_transactions(connection)
            assert "pool_mode" in found.advice
            execute(connection, "SELECT 1")
    with connected(server, "") as connection:
        assert list(check_transactions(connection)) == []
        assert connection.get_autocommit()
