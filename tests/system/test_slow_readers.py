"""Clients that stop reading, over real sockets: bounded, told, let go of, and nobody else's trouble."""

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
from tests.system.frames import CLOSE, TEXT, Ended, Wire, frame
from tests.system.server import Server

TOPIC = "slow.news"
STOPPED = 100
TOO_SLOW = 4408
SCOPES = ["--scope", "*", "--scope", "events:publish", "--scope", "metrics:read"]
SMALL = 4_096


@dataclass
class Told:
    """A gateway with somebody to publish."""

    server: Server
    key: str

    def __post_init__(self) -> None:
        self._session = requests.Session()

    def publish(self, number: int, size: int) -> None:
        event = {"topic": TOPIC, "type": "told", "data": {"n": number, "at": time.monotonic(), "fill": "x" * size}}
        headers = {"X-API-Key": self.key}
        answer = self._session.post(f"{self.server.address}/events", json=event, headers=headers, timeout=30)
        assert answer.status_code == 202, answer.text

    def listen(self, window: int | None = None, **more: Any) -> Wire:
        """A socket that hears the topic."""
        wire = Wire(self.server, "/ws/events/", f"X-API-Key: {self.key}", window=window)
        wire.send(frame(TEXT, json.dumps({"type": "subscribe", "topics": [TOPIC], **more}).encode()))
        assert said(wire)["type"] == "subscribed"
        return wire

    @property
    def sockets(self) -> int | None:
        """How many the gateway counts, as Prometheus is told; None while it does not know the key."""
        answer = self.server.get("/metrics", self.key, headers={"Accept": "text/plain"})
        found = re.search(r"^gateway_websocket_connections(?:{.*})? ([0-9.]+)$", answer.text, re.MULTILINE)
        return int(float(found[1])) if found else None

    @property
    def memory(self) -> int:
        """Bytes that its workers hold."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in self.server.workers)
        return sum(int(each) for each in pages) * 4_096


@pytest.fixture(scope="module")
def told(seed: Seed) -> Iterator[Told]:
    server = Server(seed=seed.database, environment={"RATE_LIMIT": "1000000/m"})
    made = server.manage("apikey", "create", "teller", *SCOPES)
    with server:
        yield Told(server, made.split()[-1])


def said(wire: Wire) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(wire.read().payload)
    return message


def numbers(wire: Wire, count: int) -> list[int]:
    """Of the next `count` events."""
    found: list[int] = []
    while len(found) < count:
        message = said(wire)
        if "id" in message:
            found.append(message["data"]["n"])
    return found


def test_one_that_reads_again_is_told_from_where_to_go_on_and_closed(told: Told) -> None:
    with told.listen(window=SMALL) as stopped:
        told.publish(0, 10)
        got, last = numbers(stopped, 1), ""  # from now on it is pushed to; before, all this would be a long replay
        for number in range(1, 160):
            told.publish(number, 60_000)
        while (frame_ := stopped.read()).kind != CLOSE:
            message = json.loads(frame_.payload)
            last = message.get("last_id", last)
            got += [message["data"]["n"]] if "id" in message else []
        assert message["type"] == "slow"
        assert int.from_bytes(frame_.payload[:2], "big") == TOO_SLOW
        assert got == list(range(len(got)))
        assert 0 < len(got) < 160
    with told.listen(last_id=last) as back:
        assert numbers(back, 160 - len(got)) == list(range(len(got), 160))


def test_a_hundred_that_stop_cost_little_and_delay_nobody(told: Told) -> None:
    with ExitStack() as stack:
        stopped = [stack.enter_context(told.listen(window=SMALL)) for _ in range(STOPPED)]
        reading = stack.enter_context(told.listen())
        before, waits = told.memory, []
        for number in range(260):
            told.publish(number, 20_000)
            message = said(reading)
            assert message["data"]["n"] == number
            waits.append(time.monotonic() - message["data"]["at"])
        assert sorted(waits)[len(waits) // 2] < 0.25
        assert told.memory - before < 150_000_000
        for wire in stopped[:2]:
            assert wire.code() == TOO_SLOW


def test_one_that_never_reads_is_cut_and_what_it_did_not_read_is_let_go_of(told: Told) -> None:
    """Told at once, let go of ten seconds later: its place is another's then. Its share of the kernel goes later."""
    assert eventually(lambda: told.sockets == 0, 60)
    with told.listen(window=SMALL) as stopped, told.listen() as reading:
        assert eventually(lambda: told.sockets == 2, 60)
        for number in range(160):
            told.publish(number, 60_000)
            assert numbers(reading, 1) == [number]
        assert eventually(lambda: told.sockets == 1, 60)
        closing = b""
        try:
            while (got := stopped.read()).kind != CLOSE:
                pass
            closing = got.payload
        except Ended:
            pass  # the kernel was quicker
        assert closing[:2] in (TOO_SLOW.to_bytes(2, "big"), b"")
        told.publish(160, 10)
        assert numbers(reading, 1) == [160]
