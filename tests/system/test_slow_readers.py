"""WebSocket clients that stop reading: their memory is bounded, they are closed, and others are not delayed."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.processes import eventually
from tests.system.conftest import Seed
from tests.system.frames import CLOSE, TEXT, ConnectionEnded, Wire, frame
from tests.system.server import Server

TOPIC = "slow.news"
STALLED_CLIENTS = 100
TOO_SLOW = 4408
SMALL_WINDOW = 4_096


@dataclass
class Publisher:
    """A gateway, with a key to publish events."""

    server: Server
    key: str

    def __post_init__(self) -> None:
        self._session = requests.Session()

    def publish(self, number: int, size: int) -> None:
        event = {"topic": TOPIC, "type": "tick", "data": {"n": number, "at": time.monotonic(), "fill": "x" * size}}
        headers = {"X-API-Key": self.key}
        response = self._session.post(f"{self.server.address}/events", json=event, headers=headers, timeout=30)
        assert response.status_code == 202, response.text

    def subscribe(self, window: int | None = None, **more: Any) -> Wire:
        """A WebSocket subscribed to the topic."""
        wire = Wire(self.server, "/ws/events/", f"X-API-Key: {self.key}", window=window)
        wire.send(frame(TEXT, json.dumps({"type": "subscribe", "topics": [TOPIC], **more}).encode()))
        assert receive(wire)["type"] == "subscribed"
        return wire

    @property
    def sockets(self) -> int | None:
        """The number of WebSockets in the Prometheus metrics; None while the worker does not know the key."""
        response = self.server.get("/metrics", self.key, headers={"Accept": "text/plain"})
        found = re.search(r"^gateway_websocket_connections(?:{.*})? ([0-9.]+)$", response.text, re.MULTILINE)
        return int(float(found[1])) if found else None

    @property
    def memory(self) -> int:
        """The resident memory of its workers in bytes."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.server.workers)
        return sum(int(each) for each in pages) * 4_096


@pytest.fixture(scope="module")
def publisher(seed: Seed) -> Iterator[Publisher]:
    server = Server(seed=seed.database, environment={"RATE_LIMIT": "1000000/m"})
    with server:
        yield Publisher(server, seed.publisher)


def receive(wire: Wire) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(wire.read().payload)
    return message


def numbers(wire: Wire, count: int) -> list[int]:
    """The numbers of the next `count` events."""
    found: list[int] = []
    while len(found) < count:
        message = receive(wire)
        if "id" in message:
            found.append(message["data"]["n"])
    return found


def test_a_slow_client_is_sent_the_last_id_and_closed(publisher: Publisher) -> None:
    with publisher.subscribe(window=SMALL_WINDOW) as stalled:
        publisher.publish(0, 10)
        got, last = numbers(stalled, 1), ""  # from now on events are pushed; otherwise this would be one long replay
        for number in range(1, 160):
            publisher.publish(number, 60_000)
        while (frame_ := stalled.read()).kind != CLOSE:
            message = json.loads(frame_.payload)
            last = message.get("last_id", last)
            got += [message["data"]["n"]] if "id" in message else []
        assert message["type"] == "slow"
        assert int.from_bytes(frame_.payload[:2], "big") == TOO_SLOW
        assert got == list(range(len(got)))
        assert 0 < len(got) < 160
    with publisher.subscribe(last_id=last) as back:
        assert numbers(back, 160 - len(got)) == list(range(len(got), 160))


@pytest.mark.alone
def test_a_hundred_stalled_clients_use_little_memory_and_delay_no_other(publisher: Publisher) -> None:
    with ExitStack() as stack:
        stalled = [stack.enter_context(publisher.subscribe(window=SMALL_WINDOW)) for _ in range(STALLED_CLIENTS)]
        reading = stack.enter_context(publisher.subscribe())
        before, waits = publisher.memory, []
        for number in range(260):
            publisher.publish(number, 20_000)
            message = receive(reading)
            assert message["data"]["n"] == number
            waits.append(time.monotonic() - message["data"]["at"])
        assert sorted(waits)[len(waits) // 2] < 0.25
        assert publisher.memory - before < 150_000_000
        for wire in stalled[:2]:
            assert wire.code() == TOO_SLOW


def test_a_client_that_never_reads_is_dropped_with_its_buffer(publisher: Publisher) -> None:
    """Closed at once and dropped ten seconds later, when another may connect. The kernel frees its buffers later."""
    assert eventually(lambda: publisher.sockets == 0, 60)
    with publisher.subscribe(window=SMALL_WINDOW) as stalled, publisher.subscribe() as reading:
        assert eventually(lambda: publisher.sockets == 2, 60)
        for number in range(160):
            publisher.publish(number, 60_000)
            assert numbers(reading, 1) == [number]
        assert eventually(lambda: publisher.sockets == 1, 60)
        closing = b""
        try:
            while (got := stalled.read()).kind != CLOSE:
                pass
            closing = got.payload
        except ConnectionEnded:
            pass  # the kernel has reset the connection first
        assert closing[:2] in (TOO_SLOW.to_bytes(2, "big"), b"")
        publisher.publish(160, 10)
        assert numbers(reading, 1) == [160]
