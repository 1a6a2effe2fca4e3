"""Redis goes away under load, and comes back: nobody who asks the gateway sees an error of its making."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Door, Server

RECOVERY = 5.0
"""Seconds after which shared state must be in use again."""


@pytest.fixture
def shared(seed: Seed, backend: Backend, own_redis: RedisServer) -> Iterator[Server]:
    with gateway(seed, backend, "--workers", "2", REDIS_URL=own_redis.url) as server:
        yield server


class Load:
    """One caller for each worker, that asks for what is cached and what is not until told to stop."""

    def __init__(self, server: Server, key: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._key = key
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(door,)) for door in server.doors().values()]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, requests: int = 100) -> None:
        """Returns when so many more have been answered."""
        so_far = self.statuses.total()
        assert eventually(lambda: self.statuses.total() >= so_far + requests)

    def _ask(self, door: Door) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            for path in ("/api/v1/plain/same", f"/api/v1/plain/other?{id(door)}-{number}", "/api/v1/limited/x"):
                self.statuses[door.get(path, self._key)[0]] += 1


def test_redis_stops_and_starts_again_under_load(
    shared: Server, backend: Backend, own_redis: RedisServer, seed: Seed
) -> None:
    backend.scripts |= {"/bad": failing(), "/good": ok()}
    with Load(shared, seed.ours) as load:
        load.goes_on()
        own_redis.stop()
        load.goes_on(300)
        own_redis.start()
        back = time.monotonic()
        load.goes_on()
        opens_for_both(shared, seed.theirs, back + RECOVERY)
    assert load.statuses.keys() <= {200, 429}
    assert exact(shared, seed.limited) == {200: 100, 429: 50}


def opens_for_both(server: Server, key: str, deadline: float) -> None:
    """Failures that one worker sees open the circuit of the other, which sees only good answers."""
    one, other = server.doors().values()

    def is_shared() -> bool:
        one.get("/api/v1/fragile/bad", key)
        return other.get("/api/v1/fragile/good", key)[0] == 503

    assert eventually(is_shared, deadline - time.monotonic())


def exact(server: Server, key: str) -> Counter[int]:
    def rapid(door: Door) -> Counter[int]:
        return Counter(door.get("/api/v1/limited/x", key)[0] for _ in range(75))

    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(rapid, server.doors().values()), Counter())
