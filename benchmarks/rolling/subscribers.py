"""Subscribers of events, which resume after the last one when their connection ends, and a publisher."""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

PAUSE: Final = 0.1
"""Seconds before a subscriber connects again."""
TOPIC: Final = "news"


class Subscriber(ABC):
    """`seen` counts the events by their number, `gaps` the notices that events were missed, `ends` how connections
    ended.
    """

    def __init__(self) -> None:
        self.seen: Counter[int] = Counter()
        self.gaps = 0
        self.ends: Counter[str] = Counter()
        self.last_id = ""

    @abstractmethod
    async def run(self, address: str, key: str) -> None:
        """Follow the events of the gateway at `address` until it is cancelled."""

    def receive(self, event: Mapping[str, object], event_id: str) -> None:
        data = event["data"]
        assert isinstance(data, dict)
        self.last_id = event_id
        self.seen[data["number"]] += 1


class WebSocketSubscriber(Subscriber):
    async def run(self, address: str, key: str) -> None:
        url = f"ws://{urlsplit(address).netloc}/ws/events/"
        while True:
            try:
                async with connect(url, additional_headers={"X-API-Key": key}) as socket:
                    subscribe = {"type": "subscribe", "topics": [TOPIC]} | (
                        {"last_id": self.last_id} if self.last_id else {}
                    )
                    await socket.send(json.dumps(subscribe))
                    async for text in socket:
                        self.read(json.loads(text))
                self.ends["1000"] += 1
            except ConnectionClosed as error:
                self.ends[str(error.rcvd.code) if error.rcvd else "no close frame"] += 1
            except (OSError, WebSocketException) as error:
                self.ends[type(error).__name__] += 1
            await asyncio.sleep(PAUSE)

    def read(self, message: Mapping[str, object]) -> None:
        if message.get("topic") == TOPIC:
            self.receive(message, str(message["id"]))
        elif message["type"] == "gap":
            self.gaps += 1
        self.last_id = str(message.get("last_id") or self.last_id)


class StreamSubscriber(Subscriber):
    """Of server-sent events."""

    async def run(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        while True:
            try:
                reader, writer = await asyncio.open_connection(str(parts.hostname), parts.port, limit=1 << 20)
                resume = f"Last-Event-ID: {self.last_id}\r\n" if self.last_id else ""
                head = f"GET /events?topics={TOPIC} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n{resume}"
                writer.write(f"{head}Connection: close\r\n\r\n".encode())
                event_id = ""
                while line := await reader.readline():
                    event_id = self.read(line.rstrip(), event_id)
                writer.close()
                self.ends["end of the stream"] += 1
            except OSError as error:
                self.ends[type(error).__name__] += 1
            await asyncio.sleep(PAUSE)

    def read(self, line: bytes, event_id: str) -> str:
        """The id that holds for the next line of data."""
        if line.startswith(b"id: "):
            return line[4:].decode()
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if event.get("topic") == TOPIC:
                self.receive(event, event_id)
            elif event.get("type") == "gap":
                self.gaps += 1
        return event_id


class Publisher:
    """Publishes numbered events through the gateways. `accepted` are those answered by 202, `refused` the others'
    reasons.
    """

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host, self._port, self._key = str(parts.hostname), parts.port, key
        self.accepted: set[int] = set()
        self.refused: Counter[str] = Counter()

    async def run(self, rate: float, ended: asyncio.Event) -> None:
        number = 0
        while not ended.is_set():
            await self._publish(number)
            number += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1 / rate)

    async def _publish(self, number: int) -> None:
        body = json.dumps({"topic": TOPIC, "type": "created", "data": {"number": number}}).encode()
        head = (
            f"POST /events HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {self._key}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(head.encode() + body)
            status = (await reader.read())[9:12].decode()
            writer.close()
        except OSError as error:
            status = type(error).__name__
        if status == "202":
            self.accepted.add(number)
        else:
            self.refused[status] += 1
