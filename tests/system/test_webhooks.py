"""Webhooks through running gateways: two workers over Redis, one of which dies; events, and forwarding."""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import requests

from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.routing.webhooks import providers
from tests.system.backend import Backend, ok
from tests.system.conftest import Seed
from tests.system.server import Server

DELIVERIES = 300
SECRET = "GATEWAY_SECRET_HOOK"


def configuration(backend: Backend) -> dict[str, Any]:
    return {
        "version": 1,
        "services": {
            "slack": {
                "targets": backend.targets,
                "rate_limit": "1000000/m",
                "routes": [{"path": "/history/{channel}", "cache": {"ttl": 600, "tags": ["channel:{channel}"]}}],
            },
            "receiver": {"targets": backend.targets, "auth": "none", "cache": False},
        },
        "webhooks": {
            "slack": {
                "verify": "slack",
                "secret": f"env:{SECRET}",
                "service": "slack",
                "invalidates": ["channel:{event.channel}"],
                "publish": {"topic": "slack:{event.type}", "data": {"id": "{event_id}"}},
            },
            "forwarded": {
                "verify": "slack",
                "secret": f"env:{SECRET}",
                "forward": {"service": "receiver", "path": "/in"},
            },
        },
    }


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with Backend({"/in": ok(), "/history/C1": ok(b'"C1"'), "/history/C2": ok(b'"C2"')}) as backend:
        yield backend


@pytest.fixture(scope="module")
def server(seed: Seed, backend: Backend) -> Iterator[Server]:
    with closing(RedisServer()) as redis:
        redis.start()
        environment = {SECRET: providers.SECRET, "REDIS_URL": redis.url}
        server = Server("--workers", "2", seed=seed.database, environment=environment)
        file = server.directory / "gateway.yaml"
        file.write_text(json.dumps(configuration(backend)))
        server.environment["GATEWAY_CONFIG"] = str(file)
        with server:
            yield server


def deliver(server: Server, hook: str, body: bytes) -> requests.Response:
    headers = {name.decode(): value.decode() for name, value in providers.slack(body, time.time())}
    headers |= {"content-type": "application/json", "connection": "close"}
    return requests.post(f"{server.address}/hooks/{hook}", data=body, headers=headers, timeout=30)


def send_again_until_accepted(server: Server, hook: str, body: bytes) -> str:
    """As providers do. A worker that is killed answers nothing."""
    for _ in range(100):
        try:
            response = deliver(server, hook, body)
        except requests.ConnectionError:
            time.sleep(0.05)
            continue
        if response.status_code == 200:
            return str(response.json()["status"])
        assert response.status_code in (429, 503)
        time.sleep(0.05)
    raise AssertionError("the delivery was not accepted")


def test_a_cached_response_ends_on_every_worker_within_two_seconds(
    server: Server, backend: Backend, seed: Seed
) -> None:
    workers = list(server.connections().values())
    for worker in workers:
        for channel in ("C1", "C2"):
            worker.get(f"/api/v1/slack/history/{channel}", seed.ours)
            _, fields, _ = worker.get(f"/api/v1/slack/history/{channel}", seed.ours)
            assert fields["x-cache"] == "HIT"
    assert deliver(server, "slack", providers.event(event_id="change")).status_code == 200
    assert eventually(lambda: workers[0].get("/api/v1/slack/history/C1", seed.ours)[1]["x-cache"] == "MISS", 10)
    assert workers[1].get("/api/v1/slack/history/C2", seed.ours)[1]["x-cache"] == "HIT"


def test_deliveries_are_forwarded_once(server: Server, backend: Backend) -> None:
    bodies = {providers.event(event_id=f"F{number}") for number in range(20)}
    for body in bodies:
        assert deliver(server, "forwarded", body).status_code == 200
        assert deliver(server, "forwarded", body).json() == {"status": "duplicate"}
    assert eventually(lambda: backend.request_count("/in") == 20)
    received = [request for request in backend.requests if request.line.startswith(b"POST /in")]
    assert {request.body for request in received} == bodies
    assert len({dict(request.fields)[b"idempotency-key"] for request in received}) == 20
    assert providers.SECRET not in server.log


class Subscriber:
    """Reads the events of a topic, and reconnects with the last id when its worker dies."""

    def __init__(self, server: Server, key: str, topic: str) -> None:
        self.ids = Counter[str]()
        self._url, self._headers = f"{server.address}/events?topics={topic}", {"X-API-Key": key}
        self._last = ""
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended = True

    def _run(self) -> None:
        while not self._ended:
            headers = self._headers | ({"Last-Event-ID": self._last} if self._last else {})
            try:
                with requests.get(self._url, headers=headers, stream=True, timeout=60) as stream:
                    self._read(stream)
            except requests.RequestException:
                time.sleep(0.1)

    def _read(self, stream: requests.Response) -> None:
        for line in stream.iter_lines():
            if line.startswith(b"id: "):
                self._last = line[4:].decode()
            elif line.startswith(b"data: ") and b'"topic"' in line:
                self.ids[json.loads(line[6:])["data"]["id"]] += 1
            if self._ended:
                return


def test_no_delivery_is_lost_or_done_twice_while_a_worker_dies(server: Server, seed: Seed) -> None:
    subscriber = Subscriber(server, seed.ours, "slack:message")
    names = iter(range(1_000_000))

    def has_subscribed() -> bool:
        deliver(server, "slack", providers.event(event_id=f"first-{next(names)}"))
        return len(subscriber.ids) > 0

    assert eventually(has_subscribed)

    bodies = [providers.event(event_id=f"E{number}") for number in range(DELIVERIES)]
    results: list[str] = []

    def send(some: list[bytes]) -> None:
        results.extend(send_again_until_accepted(server, "slack", body) for body in some)

    threads = [threading.Thread(target=send, args=(bodies[index::6],)) for index in range(6)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(results) > DELIVERIES // 3)
    os.kill(server.workers[0], signal.SIGKILL)
    for thread in threads:
        thread.join()
    assert len(results) == DELIVERIES

    expected = {f"E{number}" for number in range(DELIVERIES)}
    assert eventually(lambda: expected <= subscriber.ids.keys(), 60)
    subscriber.end()
    assert {name: number for name, number in subscriber.ids.items() if number > 1} == {}
    assert {send_again_until_accepted(server, "slack", body) for body in bodies[:5]} == {"duplicate"}
