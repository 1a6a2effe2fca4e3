"""Deliveries of webhooks while a worker dies: `python -m benchmarks.webhooks [--rate 500] [--seconds 10]`.

Two workers share a Redis. A provider sends signed deliveries at a fixed rate, and again what was not answered; one
worker is killed after a third of the time. Each delivery invalidates a tag and publishes an event, whose subscriber
counts how often each one has arrived. Needs redis-server.
"""

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import uvloop

from benchmarks import machine, servers
from benchmarks.stats import Threshold, percentile, table, verdict

SECRET: Final = "a signing secret for benchmarks alone"  # noqa: S105 - signs deliveries to a gateway that this benchmark starts
CONNECTIONS: Final = 32
ATTEMPTS: Final = 50
PAUSE: Final = 0.05
WAIT_SECONDS: Final = 60.0
"""For the last events, once everything has been sent."""
CONFIGURATION: Final = """
version: 1
services:
  bench: {targets: [{url: "$origin"}]}
webhooks:
  bench:
    verify: slack
    secret: "env:GATEWAY_SECRET_BENCH"
    service: bench
    invalidates: ["channel:{event.channel}"]
    publish: {topic: "bench:{event.type}", data: {id: "{event_id}"}}
"""
ACCEPTED_THRESHOLD: Final = Threshold(1_000, maximum=True)
NONE: Final = Threshold(0, maximum=True)


class Provider:
    """Sends deliveries, and sends again those that were not accepted. `latencies` are milliseconds of accepted ones."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(None)
        self.latencies: list[float] = []
        self.repeated = 0
        self.refused = 0

    async def send(self, number: int) -> None:
        body = json.dumps(
            {"event_id": f"E{number}", "event": {"type": "message", "channel": f"C{number % 50}"}}
        ).encode()
        for _ in range(ATTEMPTS):
            began = time.perf_counter()
            if await self._post(body):
                self.latencies.append((time.perf_counter() - began) * 1_000)
                return
            self.repeated += 1
            await asyncio.sleep(PAUSE)
        self.refused += 1

    async def _post(self, body: bytes) -> bool:
        connection = await self._idle.get()
        try:
            reader, writer = connection or await asyncio.open_connection(self._host, self._port)
            writer.write(self._head(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self._idle.put_nowait(None)
            return False
        self._idle.put_nowait((reader, writer))
        return head.startswith(b"HTTP/1.1 200")

    def _head(self, body: bytes) -> bytes:
        now = int(time.time())
        digest = hmac.new(SECRET.encode(), b"v0:%d:%b" % (now, body), hashlib.sha256).hexdigest()
        fields = f"X-Slack-Request-Timestamp: {now}\r\nX-Slack-Signature: v0={digest}\r\n"
        return (
            f"POST /hooks/bench HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{fields}\r\n"
        ).encode()


class Subscriber:
    """Counts the events by the ids of their deliveries; resumes after the last one when its worker dies."""

    def __init__(self, gateway: servers.RunningGateway) -> None:
        self.seen = Counter[str]()
        self.last_at = 0.0
        self._gateway = gateway
        self._last_id = ""

    async def run(self) -> None:
        parts = urlsplit(self._gateway.address)
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(str(parts.hostname), parts.port, limit=1 << 20)
                resume = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
                writer.write(
                    f"GET /events?topics=bench:message HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                    f"X-API-Key: {self._gateway.key}\r\n{resume}\r\n".encode()
                )
                while line := await reader.readline():
                    self._read(line)
                writer.close()
            await asyncio.sleep(PAUSE)

    def _read(self, line: bytes) -> None:
        if line.startswith(b"id: "):
            self._last_id = line[4:].strip().decode()
        elif line.startswith(b"data: ") and b'"topic"' in line:
            self.seen[json.loads(line[6:])["data"]["id"]] += 1
            self.last_at = time.perf_counter()


async def measure(gateway: servers.RunningGateway, rate: float, seconds: float, *, kill: bool) -> list[tuple[str, ...]]:
    provider, subscriber = Provider(gateway.address), Subscriber(gateway)
    listening = asyncio.create_task(subscriber.run())
    number = -1
    while not subscriber.seen:  # until it has subscribed
        await provider.send(number)
        number -= 1
    provider.latencies.clear()
    total, began, sending = round(rate * seconds), time.perf_counter(), set[asyncio.Task[None]]()
    for number in range(total):
        await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
        sending.add(asyncio.create_task(provider.send(number)))
        if kill and number == total // 3:
            os.kill(_first_worker(gateway.pid), signal.SIGKILL)
    await asyncio.gather(*sending)
    sent_at, expected = time.perf_counter(), {f"E{number}" for number in range(total)}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(WAIT_SECONDS):
            while not expected <= subscriber.seen.keys():  # noqa: ASYNC110 - another process sends them
                await asyncio.sleep(PAUSE)
    listening.cancel()
    lost = len(expected - subscriber.seen.keys())
    twice = sum(subscriber.seen[name] > 1 for name in expected)
    ordered = sorted(provider.latencies)
    return [
        ("deliveries", str(total), "", ""),
        ("sent again, since the worker that had them died", str(provider.repeated), "", ""),
        _row("never accepted", provider.refused, NONE),
        _row("accepted, and lost", lost, NONE),
        _row("done twice", twice, NONE),
        _row("ms until accepted, median", percentile(ordered, 50), None),
        _row("ms until accepted, p99", percentile(ordered, 99), ACCEPTED_THRESHOLD),
        _row("ms until accepted, maximum", ordered[-1], None),
        _row("s from the last one sent to the last event", subscriber.last_at - sent_at, None),
    ]


def _row(name: str, value: float, threshold: Threshold | None) -> tuple[str, ...]:
    return name, f"{value:.3g}", f"{threshold.bound:g}" if threshold else "", verdict(value, threshold)


def _first_worker(main_process: int) -> int:
    """The process id of a worker: a child of the main process."""
    return int(Path(f"/proc/{main_process}/task/{main_process}/children").read_text().split()[0])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks")
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--spare", action="store_true", help="kill no worker")
    options = parser.parse_args(arguments)
    environment = {"GATEWAY_SECRET_BENCH": SECRET}
    with (
        servers.backend() as origin,
        servers.redis() as port,
        servers.gateway(
            origin, workers=2, redis_port=port, configuration=CONFIGURATION, environment=environment
        ) as gateway,
    ):
        rows = uvloop.run(measure(gateway, options.rate, options.seconds, kill=not options.spare))
    print(machine.describe())
    print(table(("", "", "at most", ""), rows))


if __name__ == "__main__":
    main(sys.argv[1:])
