"""From the last release to this version and back, with its real code: beside it on one database and one Redis."""

import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.postgres_server import PostgresServer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.seed import create_keys
from tests.system.backend import Backend, failing
from tests.system.conftest import services
from tests.system.server import ROOT, Server, document
from tests.upgrades.releases import LAST, extract

LIMIT = 100
"""Requests a minute that `limited` takes of one caller, by default."""
ROUND_TRIP = """
import io, json
from django.core.management import call_command
from django.db import connection
from metrics.models import DailyUsage, Operation
from routing.models import ApiKey, Service

def look():
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        return {table: sorted(column.name for column in connection.introspection.get_table_description(cursor, table))
                for table in tables}

def export():
    output = io.StringIO()
    call_command("config", "export", stdout=output)
    return output.getvalue()

call_command("migrate", verbosity=0)
call_command("config", "apply", %r)
DailyUsage.objects.create(key="k", day="2026-01-01", requests=7)
before, exported, operations = look(), export(), Operation.objects.count()
call_command("migrate", release=%r, verbosity=0)
former = look()
call_command("migrate", verbosity=0)
print(json.dumps([
    former,
    look() == before,
    export() == exported,
    DailyUsage.objects.get().requests == 7 and Operation.objects.count() == operations,
]))
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return extract(LAST, tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend({"/fails": failing()}) as backend:
        yield backend


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with contextlib.closing(PostgresServer()) as server:
        yield server.start()


class Traffic:
    """Requests that go on until the end of the `with` block. `statuses` are all that came, `sent` how many."""

    def __init__(self, server: Server, key: str) -> None:
        self.statuses: set[int] = set()
        self.sent = 0
        self._server, self._key = server, key
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.02):
            self.statuses.add(self._server.get(f"/api/v1/plain/{self.sent}", self._key).status_code)
            self.sent += 1


def requests(server: Server, key: str) -> int:
    """How many requests of `plain` were counted, by all gateways."""
    found: int = server.get("/metrics", key).json()["services"]["plain"]["requests"]
    return found


def test_an_upgrade_beside_the_last_release_and_a_rollback_lose_nothing(
    release: Path, postgres: PostgresServer, backend: Backend, own_redis: RedisServer
) -> None:
    common = {"DATABASE_URL": postgres.url, "REDIS_URL": own_redis.url}
    with contextlib.ExitStack() as stack:
        old, new = (Server(root=root, environment=common) for root in (release, ROOT))
        for server in (old, new):
            stack.enter_context(contextlib.closing(server))
        keys = create_keys(old.manage, {"ours": (), "limited": (), "reader": ("metrics:read", "metrics:write")})
        file, configured = old.directory / "gateway.json", services(backend.targets)
        file.write_text(document(configured | {"brittle": configured["fragile"]}))
        old.manage("config", "apply", str(file))
        old.start()
        with Traffic(old, keys["ours"]) as traffic:
            new.manage("migrate", "--verbosity", "0")
            new.start()
            _share_cache(old, new, keys)
            _share_limits(old, new, keys["limited"])
            _share_circuits(old, new, keys["ours"])
            # The last release still writes what it knows: here a service, which the new version serves.
            old.manage(
                "config", "apply", "-", "--only", "added", stdin=document({"added": {"targets": backend.targets}})
            )
            assert eventually(lambda: new.get("/api/v1/added/x", keys["ours"]).status_code == 200)
        assert traffic.statuses == {200}
        sent = traffic.sent + 4
        assert eventually(lambda: requests(new, keys["reader"]) == requests(old, keys["reader"]) == sent)
        old.terminate()
        old.wait()
        assert requests(new, keys["reader"]) == sent

        new.terminate()
        new.wait()
        new.manage("migrate", "--release", LAST, "--verbosity", "0")
        old.start()
        assert old.get("/api/v1/plain/back", keys["ours"]).status_code == 200
        assert eventually(lambda: requests(old, keys["reader"]) == sent + 1)


def _share_cache(old: Server, new: Server, keys: dict[str, str]) -> None:
    """What one has stored is served by the other or fetched again, and an invalidation reaches both. Four requests."""
    first = old.get("/api/v1/plain/shared", keys["ours"])
    second = new.get("/api/v1/plain/shared", keys["ours"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content
    assert new.request("DELETE", "/metrics/cache/plain", keys["reader"]).status_code == 200
    for server in (old, new):
        assert server.get("/api/v1/plain/shared", keys["ours"]).headers["X-Cache"] in ("MISS", "HIT")


def _share_limits(old: Server, new: Server, key: str) -> None:
    def status(number: int) -> int:
        return (old, new)[number % 2].get("/api/v1/limited/x", key).status_code

    with ThreadPoolExecutor(4) as clients:
        statuses = list(clients.map(status, range(LIMIT + 20)))
    assert statuses.count(200) == LIMIT
    assert statuses.count(429) == 20


def _share_circuits(old: Server, new: Server, key: str) -> None:
    """A circuit that one opens is open at the other, each way."""
    _open_circuit(old, "fragile", key)
    assert eventually(lambda: new.get("/api/v1/fragile/x", key).status_code == 503, 5)
    _open_circuit(new, "brittle", key)
    assert eventually(lambda: old.get("/api/v1/brittle/x", key).status_code == 503, 5)


def _open_circuit(server: Server, service: str, key: str) -> None:
    assert {server.get(f"/api/v1/{service}/fails", key).status_code for _ in range(5)} == {500}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_go_back_to_the_last_release_and_forth_again(
    kind: str, release: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With the tables of the release, as its own code makes them, and without loss of what both know."""
    with contextlib.closing(Server()) as server, contextlib.closing(Server(root=release)) as former:
        if kind == "postgresql":
            url = request.getfixturevalue("postgres").url
            server.environment["DATABASE_URL"] = url.replace("/postgres", "/template1")
        file = tmp_path / "gateway.json"
        file.write_text(document(services([{"url": "http://127.0.0.1:9"}])))
        output = server.manage("shell", "--no-imports", "-c", ROUND_TRIP % (str(file), LAST))
        tables, is_same, is_configured, is_counted = json.loads(output.splitlines()[-1])
        assert (is_same, is_configured, is_counted) == (True, True, True)
        assert tables == _tables_of(former)


def _tables_of(former: Server) -> Any:
    """The columns of the release's tables, by its own code."""
    show = (
        "import json\nfrom django.core.management import call_command\nfrom django.db import connection\n"
        'call_command("migrate", verbosity=0)\nc = connection.cursor()\ni = connection.introspection\n'
        "print(json.dumps({t: sorted(d.name for d in i.get_table_description(c, t)) for t in i.table_names(c)}))\n"
    )
    return json.loads(former.manage("shell", "--no-imports", "-c", show).splitlines()[-1])
