"""Workers and Redis in Prometheus' metrics."""

from collections.abc import Iterator

import pytest

from metrics.infrastructure import families
from metrics.infrastructure.redis import RedisStatus, read_status
from metrics.infrastructure.worker import WorkerLoad, memory_bytes
from resilience.redis import RedisLink
from tests.clock import FakeClock
from tests.redis_server import RedisServer


def samples(gauges: dict[str, int], redis: RedisStatus | None) -> dict[str, float]:
    found = [sample for family in families.render(gauges, redis) for sample in family.samples]
    return {sample.name.removeprefix("gateway_"): sample.value for sample in found}


def test_the_gauges_of_workers_are_in_base_units() -> None:
    found = samples({"workers": 2, "worker_memory_bytes": 3_000, "worker_cpu_millis": 1_500}, None)
    assert found == {
        "workers": 2,
        "worker_memory_bytes": 3_000,
        "worker_cpu_cores": 1.5,
        "websocket_connections": 0,
        "calls_in_flight": 0,
    }


def test_redis_that_is_away_is_down_and_has_no_other_figures() -> None:
    redis = {name: value for name, value in samples({}, RedisStatus()).items() if name.startswith("redis")}
    assert redis == {"redis_up": 0}


def test_the_processor_is_measured_over_half_a_second_at_least() -> None:
    clock, used = FakeClock(10.0), FakeClock(1.0)
    load = WorkerLoad(clock, used)
    clock.advance(1.0)
    used.advance(0.25)
    assert load.cpu_millis() == 250
    clock.advance(0.1)
    used.advance(0.1)
    assert load.cpu_millis() == 250
    clock.advance(0.9)
    assert load.cpu_millis() == 100


def test_this_process_has_memory() -> None:
    assert memory_bytes() > 10_000_000


@pytest.fixture
def server() -> Iterator[RedisServer]:
    server = RedisServer("--maxmemory", "50mb")
    server.start()
    yield server
    server.stop()


async def test_a_servers_figures_are_read_and_it_is_down_once_it_is_away(server: RedisServer) -> None:
    link = RedisLink(server.url)
    try:
        status = await read_status(link)
        assert (status.up, status.memory_limit, status.evicted) == (True, 50 * 1024**2, 0)
        assert status.round_trip is not None
        assert (status.memory or 0) > 0
        assert (status.connections or 0) > 0
        server.stop()
        assert await read_status(link) == RedisStatus()
    finally:
        await link.close()
