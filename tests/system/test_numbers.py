"""The metrics of two workers over Redis count every request exactly."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing
from tests.system.conftest import Gateway, Seed, gateway

REQUESTS: Final = 20_000
CONNECTIONS: Final = 32
"""Enough to reach both workers."""
PATHS: Final = (
    *(f"/plain/page-{number}" for number in range(40)),
    *(f"/open/page-{number}" for number in range(5)),
    *("/limited/x", "/flaky/fails", "/fragile/fails", "/fragile/works", "/nobody/x", ""),
)
METHODS: Final = ("GET", "GET", "GET", "GET", "HEAD", "POST", "DELETE")


@dataclass
class Seen:
    """The responses the clients received, by service, method and status class, and by service and `X-Cache`."""

    responses: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    cache: Counter[tuple[str, str]] = field(default_factory=Counter)
    limited: int = 0

    def record(self, service: str, method: str, status: int, fields: dict[str, str]) -> None:
        self.responses[service, method, f"{status // 100}xx"] += 1
        self.limited += status == 429
        if "x-cache" in fields:
            self.cache[service, fields["x-cache"]] += 1

    def by(self, index: int) -> Counter[str]:
        """The number of responses by service (0), method (1) or status class (2)."""
        found: Counter[str] = Counter()
        for key, number in self.responses.items():
            found[key[index]] += number
        return found


@pytest.fixture(scope="module")
def counted(seed: Seed) -> Iterator[Gateway]:
    """A gateway that receives no other requests."""
    with contextlib.closing(RedisServer()) as redis, Backend({"/fails": failing()}) as backend:
        redis.start()
        with gateway(seed, backend, "--workers", "2", REDIS_URL=redis.url, ACCESS_LOG="off") as server:
            yield Gateway(server, backend, seed)


def test_20_000_random_requests_are_counted_exactly_and_across_a_restart(counted: Gateway) -> None:
    key = counted.seed.reader
    seen = asyncio.run(send_requests(counted, REQUESTS))
    assert seen.responses.total() == REQUESTS
    assert set(seen.by(2)) == {"2xx", "4xx", "5xx"}
    assert {"HIT", "MISS", "BYPASS"} <= {result for _, result in seen.cache}
    assert seen.limited > 0
    assert_counted(counted, key, seen)
    counted.terminate()
    assert counted.wait() == 0
    counted.start()
    assert_counted(counted, key, seen)


async def send_requests(gateway: Gateway, number: int) -> Seen:
    seen, left = Seen(), iter(range(number))
    clients = [_Client(gateway, random.Random(each), seen) for each in range(CONNECTIONS)]
    await asyncio.gather(*(client.run(left) for client in clients))
    return seen


class _Client:
    """A connection that sends requests until none is left."""

    def __init__(self, gateway: Gateway, chance: random.Random, seen: Seen) -> None:
        self._port: int = gateway.port
        self._chance = chance
        self._seen = seen
        self._keys = [gateway.seed.ours, gateway.seed.ours, gateway.seed.theirs, "gw_12345678_wrong", ""]

    async def run(self, left: Iterator[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        for _ in left:
            path, method = self._chance.choice(PATHS), self._chance.choice(METHODS)
            writer.write(self._request(method, path))
            status, fields = await _read_response(reader, has_body=method != "HEAD")
            service = path.split("/")[1] if path else ""
            self._seen.record("" if service == "nobody" else service, method, status, fields)
        writer.close()
        await writer.wait_closed()

    def _request(self, method: str, path: str) -> bytes:
        key = self._chance.choice(self._keys)
        lines = [f"{method} /api/v1{path or '/'} HTTP/1.1", "Host: localhost", *([f"X-API-Key: {key}"] if key else [])]
        body = b"{}" if method == "POST" else b""
        length = [f"Content-Length: {len(body)}"] if body else []
        return "\r\n".join([*lines, *length, "", ""]).encode() + body


async def _read_response(reader: asyncio.StreamReader, *, has_body: bool) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    if has_body:
        await reader.readexactly(int(fields["content-length"]))
    return int(head[0].split(" ")[1]), fields


def assert_counted(gateway: Gateway, key: str, seen: Seen) -> None:
    """Both formats of `GET /metrics`, from any worker."""
    for _ in range(4):
        services: dict[str, Any] = gateway.get("/metrics", key).json()["services"]
        counts = {name: each["requests"] for name, each in services.items() if each["requests"]}
        assert counts == seen.by(0)
        assert sum((Counter(each["statusClasses"]) for each in services.values()), Counter()) == seen.by(2)
        assert sum(each["hits"] for each in services.values()) == _results(seen, "HIT")
        assert sum(each["misses"] for each in services.values()) == _results(seen, "MISS")
        page = gateway.get("/metrics", key, headers={"Accept": "text/plain"}).text
        series = _Page(page)
        assert series["gateway_requests_total", "service", "method", "status_class"] == seen.responses
        assert series["gateway_cache_requests_total", "service", "result"] == seen.cache
        decisions = {"allowed": seen.responses.total() - seen.limited, "denied": seen.limited}
        assert {name: number for (name,), number in series["gateway_ratelimit_total", "decision"].items()} == decisions


def _results(seen: Seen, result: str) -> int:
    return sum(number for (_, each), number in seen.cache.items() if each == result)


class _Page:
    """The samples of a Prometheus page, summed by the given labels."""

    def __init__(self, page: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]

    def __getitem__(self, key: tuple[str, ...]) -> Counter[tuple[str, ...]]:
        name, *labels = key
        found: Counter[tuple[str, ...]] = Counter()
        for sample in self._samples:
            if sample.name == name:
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return found
