"""The gateway over PgBouncer in transaction mode, over a database that goes away, and over a failover."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from tests.postgres_server import PgBouncer, PostgresServer
from tests.processes import eventually
from tests.seed import create_keys
from tests.system.backend import Backend
from tests.system.conftest import services
from tests.system.server import Server, document
from tests.system.test_postgres import staff_session

SIZE = 3
"""Connections of PgBouncer to the server."""
PAGE = "/admin/routing/service/"
BROWSER = {"Accept": "text/html"}
USE = """
from django.contrib.auth.models import User
from django.core.management import call_command
User.objects.create_superuser("ann", password="a long password")
call_command("config", "apply", %r)
"""


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    with contextlib.closing(PostgresServer()) as server:
        yield server.start()


def prepare(server: Server, backend: Backend) -> str:
    """Migrate, and create an API key, a member of staff and services. Returns the key."""
    key = create_keys(server.manage, {"ours": ()})["ours"]
    file = server.directory / "gateway.json"
    file.write_text(document(services(backend.targets)))
    server.manage("shell", "--no-imports", "-c", USE % str(file))
    return key


def status(server: Server) -> str:
    found: str = server.get("/health/deep").json()["checks"]["database"]["status"]
    return found


def server_connections(primary: PostgresServer) -> int:
    with psycopg.connect(primary.url, application_name="observer") as observer:
        row = observer.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND application_name <> 'observer'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_everything_works_over_transactions_that_are_pooled(primary: PostgresServer, backend: Backend) -> None:
    """Migrations too, and the backup, which reads one snapshot. Then the server crashes, and comes back."""
    with contextlib.closing(PgBouncer(primary, size=SIZE)) as bouncer:
        server = Server(environment={"DATABASE_URL": bouncer.start().url})
        with contextlib.closing(server):
            key = prepare(server, backend)
            backup = server.directory / "a.backup"
            server.manage("backup", str(backup))
            server.manage("restore", "--replace", str(backup))
            server.start()
            session = staff_session(server) | BROWSER
            with ThreadPoolExecutor(20) as clients:
                pages = [clients.submit(server.get, PAGE, headers=session) for _ in range(60)]
                most = max(server_connections(primary) for _ in range(20))
                assert {page.result().status_code for page in pages} == {200}
            assert 1 <= most <= SIZE

            primary.stop()
            assert server.get("/api/v1/plain/x", key).status_code == 200
            assert eventually(lambda: server.get(PAGE, headers=session).status_code == 503)
            assert server.get("/api/v1/plain/y", key).status_code == 200
            primary.start()
            assert eventually(lambda: server.get(PAGE, headers=session).status_code == 200)
            # What was counted meanwhile has been kept.
            assert eventually(lambda: requests(server, session) == 2)


def test_the_gateway_follows_a_standby_that_is_promoted(primary: PostgresServer, backend: Backend) -> None:
    with contextlib.closing(PostgresServer(standby_of=primary)) as standby:
        standby.start()
        both = f"postgresql://gateway@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"
        server = Server(environment={"DATABASE_URL": f"{both}?target_session_attrs=read-write"})
        with contextlib.closing(server):
            key = prepare(server, backend)
            server.start()
            session = staff_session(server)
            assert server.get("/api/v1/plain/x", key).status_code == 200
            assert eventually(lambda: requests(server, session) == 1 and is_replicated(standby))
            primary.stop()
            statuses = served_meanwhile(server, key, standby)
            assert statuses == {200}
            assert eventually(lambda: server.get(PAGE, headers=session).status_code == 200)
            assert "Traceback" not in server.log
            # It can be written.
            server.manage("apikey", "create", "second", "--all-services")


def served_meanwhile(server: Server, key: str, standby: PostgresServer) -> set[int]:
    """The statuses of requests until the standby is promoted and used."""
    promoting = threading.Thread(target=standby.promote)
    promoting.start()
    statuses = {server.get("/api/v1/plain/z", key).status_code for _ in range(20)}
    assert eventually(lambda: status(server) == "ok")
    promoting.join()
    return statuses | {server.get("/api/v1/plain/z", key).status_code}


def is_replicated(standby: PostgresServer) -> bool:
    with psycopg.connect(standby.url) as observer:
        return observer.execute("SELECT 1 FROM metrics_aggregate WHERE service = 'plain'").fetchone() is not None


def requests(server: Server, session: dict[str, str]) -> int:
    """How many requests of the service `plain` were counted."""
    found: int = server.get("/metrics", headers=session).json()["services"]["plain"]["requests"]
    return found
