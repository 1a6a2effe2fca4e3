"""A complete gateway of two worker processes over a real Redis, and helpers to read its WebSockets."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.ports import free_port
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.seed import create_keys

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
TOPIC = '{"type":"subscribe","topics":["news"]}'
SERVICES = """
version: 1
services:
  crm:
    targets: [{url: "http://127.0.0.1:1"}]
    breaker: {failure_threshold: 1}
    retries: {attempts: 1}
  live:
    targets: [{url: "http://127.0.0.1:LIVE/base"}]
    hosts: [live.test]
    websocket: true
    headers: {X-Inside: "secret"}
  gone:
    targets: [{url: "http://127.0.0.1:1"}]
    websocket: true
"""
KEYS = {
    "key": ("*", "events:publish"),
    "unprivileged_key": ("metrics:read",),
    "limited_key": ("metrics:read",),
    "revocable_key": ("*",),
    "operator_key": ("metrics:write",),
}


@dataclass
class Served:
    """A running gateway. `key` may publish; `unprivileged_key` may not."""

    port: int
    environment: dict[str, str]
    key: str
    unprivileged_key: str
    limited_key: str
    """May not publish either; one test uses up its rate limit."""
    revocable_key: str
    """May not publish either; one test revokes it."""
    operator_key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *arguments: str) -> str:
        return manage(self.environment, *arguments)

    def publish(self, data: Any, key: str | None = None, topic: str = "news", **more: Any) -> requests.Response:
        body = msgspec.json.encode({"topic": topic, "type": "tick", "data": data, **more})
        return requests.post(f"{self.url}/events", body, headers={"X-API-Key": key or self.key}, timeout=20)

    def socket(self, path: str = "/ws/events/", **more: Any) -> connect:
        headers = {"Authorization": f"Bearer {self.key}"}
        return connect(f"ws://127.0.0.1:{self.port}{path}", **{"additional_headers": headers, **more})


def manage(environment: dict[str, str], *arguments: str) -> str:
    """Run a management command and return the last line that it prints."""
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2]


@cache
def seed() -> tuple[bytes, dict[str, str]]:
    """A database file that has KEYS, and the keys by their names. Created once for all gateways."""
    with TemporaryDirectory() as directory:
        environment = os.environ | {"DATABASE_URL": f"sqlite:///{directory}/db.sqlite3", "REDIS_URL": ""}
        keys = create_keys(partial(manage, environment), KEYS)
        return (Path(directory) / "db.sqlite3").read_bytes(), keys


def followers(redis: RedisServer) -> int:
    """The number of workers that wait for the next event. Any other worker may miss what is published."""
    with redis.client() as client:
        return sum(connection["cmd"] == "xread" for connection in client.client_list())


@contextmanager
def serving(directory: Path, backend: int, redis: RedisServer, **more: str) -> Iterator[Served]:
    """Run a gateway in front of the backend at port `backend`. Starts `redis`. `more` is added to the environment."""
    redis.start()
    database, keys = seed()
    (directory / "db.sqlite3").write_bytes(database)
    (directory / "gateway.yaml").write_text(SERVICES.replace("LIVE", str(backend)))
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{directory}/db.sqlite3",
        "REDIS_URL": redis.url,
        "GATEWAY_CONFIG": str(directory / "gateway.yaml"),
        "RATE_LIMIT": "10000/m",
        "ACCESS_LOG": "off",
        "DRAIN_SECONDS": "0",
        **more,
    }
    command = [sys.executable, "manage.py", "rungateway", "--port", str(port), "--workers", str(WORKERS)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while b"ready" not in (directory / "log").read_bytes():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        assert eventually(lambda: followers(redis) == WORKERS, 60), "a worker does not follow the event log"
        yield Served(port, environment, **keys)
    finally:
        process.terminate()
        process.wait(30)


async def read(ws: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        message: dict[str, Any] = msgspec.json.decode(await ws.recv())
    return message


async def numbers(ws: ClientConnection, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        message = await read(ws)
        if "id" in message:
            found.append(message["data"])
    return found


async def subscribed(served: Served, **more: Any) -> ClientConnection:
    ws: ClientConnection = await served.socket(**more)
    await ws.send(TOPIC)
    assert (await read(ws))["type"] == "subscribed"
    return ws


async def close_code(ws: ClientConnection) -> int | None:
    try:
        while True:
            await read(ws)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
