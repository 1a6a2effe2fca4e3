"""Another program writes over every key of a gateway: it answers as if that part of Redis were away, and recovers."""

import contextlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.malformed import KINDS, overwrite
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing
from tests.system.conftest import UNLIMITED, Seed
from tests.system.server import Server, document

SLOWEST_SECONDS: Final = 15.0
"""How long a request may take on a busy machine: a hung one takes 30 s."""
PASSWORD: Final = "pass-of-the-test"
UNAVAILABLE: Final = frozenset(
    {
        "POST /events",
        "DELETE /metrics/cache/plain?dry_run=1",
        "DELETE /metrics/cache/plain?tag=all",
        "DELETE /metrics/cache",
        "POST /metrics/cache/warm",
    }
)
"""What may answer 503 at first: each needs Redis."""
ONCE: Final = "POST /api/v1/plain/once"
"""A request with an Idempotency-Key, which is not repeated while its record is malformed."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with contextlib.closing(RedisServer()) as server:
        server.start()
        yield server


@pytest.fixture(scope="module")
def server(seed: Seed, redis: RedisServer) -> Iterator[Server]:
    with Backend({"/bad": failing()}) as backend:
        environment = {"REDIS_URL": redis.url, "ACCESS_LOG": "off", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        made = Server("--workers", "2", seed=seed.database, environment=environment)
        file = made.directory / "gateway.yaml"
        file.write_text(document(services(backend.targets)))
        made.environment["GATEWAY_CONFIG"] = str(file)
        made.manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.com")
        with made:
            yield made


def services(targets: list[dict[str, str]]) -> dict[str, Any]:
    common = {"targets": targets, "retries": {"attempts": 1}, "rate_limit": UNLIMITED}
    return {
        "plain": {
            **common,
            "health": {"path": "/health", "interval": "1s"},
            "cache": {"tags": ["all"]},
            "routes": [{"path": "/once", "methods": ["POST"], "idempotency": True}],
        },
        "fragile": {**common, "breaker": {"failure_threshold": 1000}, "cache": False},
        "limited": {"targets": targets, "rate_limit": "1000/m", "cache": False},
    }


class Visitor:
    """Makes requests of all kinds. `statuses` are those of the last round, by method and path."""

    def __init__(self, server: Server, seed: Seed) -> None:
        self.statuses: dict[str, set[int]] = {}
        self._server, self._seed = server, seed
        self._cookies: dict[str, str] = {}

    def log_in(self) -> None:
        page = self._server.get("/admin/login/")
        token = page.text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        data = {"username": "root", "password": PASSWORD, "csrfmiddlewaretoken": token, "next": "/admin/"}
        self._cookies = page.cookies.get_dict()
        entered = self._send("POST", "/admin/login/", data=data, cookies=self._cookies, allow_redirects=False)
        assert entered.status_code == 302
        self._cookies |= entered.cookies.get_dict()

    def visit(self) -> None:
        self.statuses = defaultdict(set)
        for path in ("plain/kept", "plain/kept", "plain/new", "fragile/good", "limited/x"):
            self._send("GET", f"/api/v1/{path}", self._seed.ours)
        self._send("POST", "/api/v1/plain/once", self._seed.ours, headers={"Idempotency-Key": "same"})
        self._send("POST", "/api/v1/plain/kept", self._seed.ours)
        self._send("POST", "/events", self._seed.publisher, json={"topic": "service:plain", "type": "a", "data": {}})
        self._send("GET", "/events?topics=service:plain", self._seed.publisher, stream=True).close()
        for path in ("/metrics", "/metrics/cache", "/metrics/circuit-breakers", "/metrics/history", "/health/deep"):
            self._send("GET", path, self._seed.publisher)
        for path in ("/api/schema", "/health/ready", "/admin/login/"):
            self._send("GET", path)
        self._visit_as_staff()

    def _visit_as_staff(self) -> None:
        pages = ("/dashboard/snapshot.json", "/dashboard/services/plain/detail.json", "/admin/")
        for path in pages:
            self._send("GET", path, cookies=self._cookies)
        token = next(value for name, value in self._cookies.items() if "csrf" in name)
        circuits = [f"POST /metrics/circuit-breakers/{name}" for name in ("fragile/open", "fragile/reset", "reset")]
        for operation in (*sorted(UNAVAILABLE - {"POST /events"}), "POST /metrics/cache/reset", *circuits):
            self._send(*operation.split(), cookies=self._cookies, headers={"X-CSRFToken": token})

    def _send(self, method: str, path: str, key: str | None = None, **more: Any) -> Any:
        started = time.monotonic()
        response = self._server.request(method, path, key, **more)
        assert time.monotonic() - started < SLOWEST_SECONDS, (method, path)
        self.statuses.setdefault(f"{method} {path}", set()).add(response.status_code)
        return response

    def fails(self) -> dict[str, set[int]]:
        """What fails in another round."""
        self.visit()
        return self.failed

    @property
    def failed(self) -> dict[str, set[int]]:
        return {name: statuses for name, statuses in self.statuses.items() if not statuses <= {200, 202}}


@pytest.mark.parametrize("kind", ["bytes", "list"])
def test_a_gateway_answers_and_recovers(server: Server, seed: Seed, redis: RedisServer, kind: str) -> None:
    visitor = Visitor(server, seed)
    visitor.log_in()
    assert eventually(lambda: visitor.fails() == {})  # the workers have joined the event log
    logged = len(server.log)
    with redis.client() as client:
        assert len(overwrite(client, KINDS[kind])) > 20
    visitor.visit()
    assert visitor.failed.pop(ONCE) == {503}
    assert visitor.failed.keys() - {ONCE} <= UNAVAILABLE, visitor.failed
    assert all(statuses == {503} for statuses in visitor.failed.values()), visitor.failed
    assert eventually(lambda: _counts_exactly(server, seed))
    assert eventually(lambda: visitor.fails() == {ONCE: {503}})
    log = server.log[logged:]
    assert "Traceback" not in log
    messages = Counter(json.loads(line).get("message", "") for line in log.splitlines() if line.startswith("{"))
    assert all(times <= 2 for text, times in messages.items() if "malformed" in text or "WRONGTYPE" in text)
    redis.flush()


def _counts_exactly(server: Server, seed: Seed) -> bool:
    """Whether the counters go on: of three requests, three are counted."""

    def total() -> int:
        metrics = server.get("/metrics", seed.reader, headers={"Accept": "application/json"}).json()
        return int(metrics["circuitBreakers"]["stats"]["fragile"]["totalRequests"])

    before = total()
    for _ in range(3):
        server.get("/api/v1/fragile/bad", seed.ours)
    return total() == before + 3
