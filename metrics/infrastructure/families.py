"""Prometheus' metrics of workers and Redis."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from metrics.infrastructure.redis import RedisStatus
from metrics.infrastructure.worker import MEMORY, PROCESSOR


def render(gauges: Mapping[str, int], redis: RedisStatus | None) -> Iterator[Metric]:
    """`gauges` are the sums of all workers'. Without Redis, its metrics have no samples."""
    yield from _workers(gauges)
    yield from _redis(redis)


def _workers(gauges: Mapping[str, int]) -> Iterator[Metric]:
    named = (
        ("gateway_workers", "Workers that are running.", "workers", 1),
        (
            "gateway_worker_memory_bytes",
            "Resident memory of all workers; what they share counts for each.",
            MEMORY,
            1,
        ),
        ("gateway_worker_cpu_cores", "Processors that all workers kept busy in the last second.", PROCESSOR, 1_000),
        ("gateway_websocket_connections", "Open WebSocket connections.", "websocket_connections", 1),
        ("gateway_calls_in_flight", "Calls to backends that have a slot of a bulkhead.", "calls_in_flight", 1),
    )
    for name, text, gauge, divisor in named:
        family = GaugeMetricFamily(name, text)
        family.add_metric([], gauges.get(gauge, 0) / divisor)
        yield family


def _redis(redis: RedisStatus | None) -> Iterator[Metric]:
    seen = redis or RedisStatus()
    up = None if redis is None else float(redis.up)
    gauges = (
        ("up", "1 if the worker that is scraped reaches Redis, else 0.", up),
        ("round_trip_seconds", "A round trip to Redis, at the scrape.", seen.round_trip),
        ("memory_bytes", "Memory that Redis uses.", seen.memory),
        ("memory_limit_bytes", "maxmemory of Redis; 0 is no limit.", seen.memory_limit),
        ("connections", "Connections of clients to Redis.", seen.connections),
    )
    families: list[GaugeMetricFamily | CounterMetricFamily] = []
    for name, text, value in gauges:
        families.append(GaugeMetricFamily(f"gateway_redis_{name}", text))
        if value is not None:
            families[-1].add_metric([], value)
    evicted = CounterMetricFamily("gateway_redis_evicted_keys", "Keys that Redis has evicted since its start.")
    if seen.evicted is not None:
        evicted.add_metric([], seen.evicted)
    yield from (*families, evicted)
