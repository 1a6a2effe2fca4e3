"""Usage as an operator sees it: two workers over Redis, one killed, Redis emptied, the receiver failing, a restart."""

import json
import os
import signal
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import msgspec
import pytest

from metrics.usage.record import UsageBatch
from metrics.usage.redis import BATCHES
from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, ok
from tests.system.conftest import Seed, gateway
from tests.system.server import Server, WorkerConnection

pytestmark = pytest.mark.slow
PATH = "/api/v1/flaky/used"
STREAM = "/api/v1/flaky/stream"
PLANS = {"pro": {"price": {"per_request": 0.003, "currency": "EUR"}}}
CONSUMERS = {"acme": {"plan": "pro"}}


class Receiver:
    """Takes events once each, and fails every other time."""

    def __init__(self) -> None:
        self.events: dict[str, Any] = {}
        self.calls = 0

    async def __call__(self, peer: Peer) -> None:
        events = json.loads(await peer.read_body())
        self.calls += 1
        if self.calls % 2:
            await peer.send(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
            return
        self.events |= {event["id"]: event for event in events}
        if self.calls % 4 == 0:
            peer.reset()
        else:
            await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    @property
    def requests(self) -> Counter[str]:
        total: Counter[str] = Counter()
        for event in self.events.values():
            total[event["subject"]] += event["data"]["requests"]
        return total


async def stream(peer: Peer) -> None:
    """An event stream of seven seconds."""
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
    await peer.wait_closed()


def call(server: Server, key: str, number: int) -> Counter[int]:
    def post(_: int) -> int:
        return server.request("POST", PATH, key, data=b"four").status_code

    with ThreadPoolExecutor(16) as threads:
        return Counter(threads.map(post, range(number)))


def usage(server: Server, seed: Seed, query: str) -> list[dict[str, Any]]:
    response = server.get(f"/metrics/usage?{query}", seed.reader)
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["usage"]
    return rows


def requests(server: Server, seed: Seed) -> int:
    [row] = usage(server, seed, "consumer=acme&group_by=consumer") or [{"requests": 0}]
    return int(row["requests"])


def calls_until_live(server: Server, key: str) -> int:
    """Wait until each worker accepts the key. Returns how many calls it was accepted for."""
    workers = list(server.connections().values())
    for worker in workers:
        assert eventually(partial(is_accepted, worker, key))
    return len(workers)


def is_accepted(worker: WorkerConnection, key: str) -> bool:
    return worker.get(PATH, key)[0] == 200


def kept(server: Server, redis: RedisServer) -> int:
    """The consumer's requests that outlive their worker: those in the database, and in Redis until they are there."""
    with redis.client() as client:
        stored = [value for key in client.keys(f"*{BATCHES}") for value in client.hvals(key)]
    with closing(sqlite3.connect(server.database, timeout=30)) as database:
        saved = {row[0] for row in database.execute("select id from metrics_batch")}
        ((total,),) = database.execute("select sum(requests) from metrics_dailyusage where consumer = 'acme'")
    batches = [msgspec.msgpack.decode(value, type=UsageBatch) for value in stored]
    rows = [row for batch in batches if batch.id not in saved for row in batch.rows]
    return int(total or 0) + sum(counts.requests for key, counts in rows if key.consumer == "acme")


def test_usage_is_exact_through_a_kill_an_emptied_redis_and_a_restart(
    seed: Seed, backend: Backend, own_redis: RedisServer
) -> None:
    receiver = Receiver()
    backend.scripts |= {"/used": ok(b"12345"), "/events": receiver, "/stream": stream}
    events = {"METERING_URL": f"{backend.targets[0]['url']}/events", "METERING_INTERVAL": "1", "DEBUG": "on"}
    with gateway(seed, backend, "--workers", "2", REDIS_URL=own_redis.url, **events) as server:
        document = {"version": 1, "services": {}, "plans": PLANS, "consumers": CONSUMERS}
        only = ("--only", "plan pro", "--only", "consumer acme")
        server.manage("config", "apply", "-", *only, stdin=json.dumps(document))
        key = server.manage("apikey", "create", "app", "--all-services", "--consumer", "acme").splitlines()[-1]
        before = calls_until_live(server, key)
        assert eventually(lambda: requests(server, seed) == before)
        assert call(server, key, 200) == {200: 200}
        assert eventually(lambda: requests(server, seed) == before + 200)

        call(server, key, 100)
        assert eventually(lambda: kept(server, own_redis) == before + 300)
        os.kill(server.workers[0], signal.SIGKILL)
        assert eventually(lambda: requests(server, seed) == before + 300)
        assert eventually(lambda: len(server.workers) == 2)

        call(server, key, 100)
        own_redis.flush()
        assert eventually(lambda: requests(server, seed) == before + 400)

        opened = server.get(STREAM, key, stream=True)
        assert eventually(lambda: requests(server, seed) == before + 401, 30)
        opened.close()
        call(server, key, 50)
        server.terminate()
        assert server.wait() == 0
        server.start()
        assert eventually(lambda: requests(server, seed) == before + 451)
        [row] = usage(server, seed, "consumer=acme&group_by=service&service=flaky")
        assert row["bytesIn"] == 450 * len(b"four")
        assert row["bytesOut"] >= 450 * len(b"12345")
        assert row["money"] == [{"amount": f"{(before + 451) * 3 / 1000:.3f}".rstrip("0"), "currency": "EUR"}]
        assert eventually(lambda: receiver.requests["acme"] == before + 451, 60)


def test_without_metering_nothing_is_counted(seed: Seed, backend: Backend) -> None:
    backend.scripts |= {"/used": ok()}
    with gateway(seed, backend, METERING="off") as server:
        assert call(server, seed.ours, 3) == {200: 3}
        assert usage(server, seed, "") == []
