"""The whole gateway, two workers in their own processes over a real Redis, and how its sockets are read."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import requests
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
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
    websocket: true
    headers: {X-Inside: "secret"}
  gone:
    targets: [{url: "http://127.0.0.1:1"}]
    websocket: true
"""


@dataclass
class Served:
    """A gateway at an address, with a key that may publish and one that may not."""

    port: int
    environment: dict[str, str]
    key: str = ""
    poor: str = ""
    greedy: str = ""
    """Of one that may not publish, whose limit a test may use up."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def manage(self, *words: str) -> str:
        command = [sys.executable, "manage.py", *words]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout.strip().rpartition("\n")[2]

    def publish(self, data: Any, key: str | None = None, topic: str = "news", **more: Any) -> requests.Response:
        body = msgspec.json.encode({"topic": topic, "type": "tick", "data": data, **more})
        return requests.post(f"{self.url}/events", body, headers={"X-API-Key": key or self.key}, timeout=20)

    def socket(self, path: str = "/ws/events/", **more: Any) -> connect:
        headers = {"Authorization": f"Bearer {self.key}"}
        return connect(f"ws://127.0.0.1:{self.port}{path}", **{"additional_headers": headers, **more})


@contextmanager
def serving(place: Path, backend: int, redis: RedisServer, **more: str) -> Iterator[Served]:
    """A gateway in front of the backend at this port, on a Redis that it starts; `more` is of its environment."""
    redis.start()
    (place / "gateway.yaml").write_text(SERVICES.replace("LIVE", str(backend)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{place}/db.sqlite3",
        "REDIS_URL": redis.url,
        "GATEWAY_CONFIG": str(place / "gateway.yaml"),
        "RATE_LIMIT": "10000/m",
        "ACCESS_LOG": "off",
        **more,
    }
    gateway = Served(port, environment)
    command = [sys.executable, "manage.py", "rungateway", "--port", str(port), "--workers", "2"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while b"ready" not in (place / "log").read_bytes():
            assert process.poll() is None, (place / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        gateway.key = gateway.manage("apikey", "create", "ours", "--scope", "*", "--scope", "events:publish")
        gateway.poor = gateway.manage("apikey", "create", "poor", "--scope", "nothing")
        gateway.greedy = gateway.manage("apikey", "create", "greedy", "--scope", "nothing")
        while (
            gateway.publish(0, topic="warm").status_code != 202 or gateway.publish(0, gateway.poor).status_code != 403
        ):
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)  # the other worker, too, has the keys
        yield gateway
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
