"""An outage of Redis under load causes no errors."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Server, WorkerConnection

RECOVERY_SECONDS = 5.0
"""Seconds after which state must be shared again."""


@pytest.fixture
def shared(seed: Seed, backend: Backend, own_redis: RedisServer) -> Iterator[Server]:
    with gateway(seed, backend, "--workers", "2", REDIS_URL=own_redis.url) as server:
        yield server


class Load:
    """A client for each worker that requests cached and uncached paths until the end of the `with` block."""

    def __init__(self, server: Server, key: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._key = key
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_requests, args=(worker,)) for worker in server.connections().values()
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_responses(self, requests: int = 100) -> None:
        """Wait for this many more responses."""
        before = self.statuses.total()
        assert eventually(lambda: self.statuses.total() >= before + requests)

    def _send_requests(self, worker: WorkerConnection) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            for path in ("/api/v1/plain/same", f"/api/v1/plain/other?{id(worker)}-{number}", "/api/v1/limited/x"):
                self.statuses[worker.get(path, self._key)[0]] += 1


def test_redis_stops_and_starts_under_load(
    shared: Server, backend: Backend, own_redis: RedisServer, seed: Seed
) -> None:
    backend.scripts |= {"/bad": failing(), "/good": ok()}
    with Load(shared, seed.ours) as load:
        load.wait_for_responses()
        own_redis.stop()
        load.wait_for_responses(300)
        own_redis.start()
        back = time.monotonic()
        load.wait_for_responses()
        assert_circuit_is_shared(shared, seed.theirs, back + RECOVERY_SECONDS)
    assert load.statuses.keys() <= {200, 429}
    assert exact(shared, seed.limited) == {200: 100, 429: 50}


def test_without_redis_the_workers_share_a_limit_and_the_gateway_is_degraded(
    shared: Server, own_redis: RedisServer, seed: Seed
) -> None:
    own_redis.stop()
    for worker in shared.connections().values():
        worker.get("/api/v1/plain/same", seed.ours)  # each notices the outage
    statuses = exact(shared, seed.limited)
    assert 0 < statuses[200] <= 100
    for worker in shared.connections().values():
        assert eventually(partial(is_degraded, worker))


def is_degraded(worker: WorkerConnection) -> bool:
    """The gateway, Redis and the channel layer, while it goes on serving."""
    status, _, body = worker.get("/health/deep")
    assert status == 200
    found = json.loads(body)
    checks = [found["checks"][name] for name in ("redis", "channel_layer")]
    return {each["status"] for each in (found, *checks)} == {"degraded"}


def assert_circuit_is_shared(server: Server, key: str, deadline: float) -> None:
    """Failures in one worker open the circuit of the other, which has none."""
    one, other = server.connections().values()

    def is_shared() -> bool:
        one.get("/api/v1/fragile/bad", key)
        return other.get("/api/v1/fragile/good", key)[0] == 503

    assert eventually(is_shared, deadline - time.monotonic())


def exact(server: Server, key: str) -> Counter[int]:
    def rapid(worker: WorkerConnection) -> Counter[int]:
        return Counter(worker.get("/api/v1/limited/x", key)[0] for _ in range(75))

    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(rapid, server.connections().values()), Counter())
