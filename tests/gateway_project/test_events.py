"""The whole gateway, two workers in their own processes over a real Redis, and the clients that people use."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any

import msgspec
import pytest
import requests
from playwright.sync_api import sync_playwright
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.redis_server import RedisServer

CHROMIUM = shutil.which("chromium")
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


async def _echo(ws: ServerConnection) -> None:
    """Says what it was sent in the handshake, then repeats; `bye` makes it close, `redirect` is no more than text."""
    assert ws.request is not None
    fields = {name.lower(): value for name, value in ws.request.headers.raw_items()}
    await ws.send(msgspec.json.encode({"path": ws.request.path, "fields": fields}).decode())
    async for message in ws:
        if message == "bye":
            await ws.close(4123, "as asked")
            return
        await ws.send(message)


def _handshake(ws: ServerConnection, request: Request) -> Response | None:
    if "elsewhere" in request.path:
        response = ws.respond(302, "")
        response.headers["Location"] = "ws://127.0.0.1:1/inside"
        return response
    return None


def _chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("chat") if "chat" in offered else None


@contextmanager
def live_backend() -> Iterator[int]:
    """A backend that speaks WebSocket, on a thread of its own."""
    loop, ports = asyncio.new_event_loop(), Queue[int]()
    stop = asyncio.Event()

    async def run() -> None:
        async with serve(_echo, "127.0.0.1", 0, process_request=_handshake, select_subprotocol=_chosen) as server:
            ports.put(server.sockets[0].getsockname()[1])
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        yield ports.get(timeout=20)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@dataclass
class Served:
    """A gateway at an address, with a key that may publish and one that may not."""

    port: int
    environment: dict[str, str]
    key: str = ""
    poor: str = ""

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


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    with live_backend() as port:
        yield port


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, backend: int) -> Iterator[Served]:
    place, redis = tmp_path_factory.mktemp("gateway"), RedisServer()
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
        redis.close()


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


async def test_subscribers_on_both_workers_get_every_event_once_and_in_order(served: Served) -> None:
    sockets = [await subscribed(served) for _ in range(40)]
    publishing = asyncio.create_task(asyncio.to_thread(lambda: [served.publish(number) for number in range(50)]))
    assert await asyncio.gather(*(numbers(ws, 50) for ws in sockets)) == [list(range(50))] * 40
    await publishing
    await asyncio.gather(*(ws.close() for ws in sockets))


async def test_a_browser_brings_its_token_as_a_subprotocol_that_is_not_echoed(served: Served) -> None:
    ws = await subscribed(
        served, additional_headers={}, subprotocols=["bearer", served.key], origin=f"http://127.0.0.1:{served.port}"
    )
    assert ws.subprotocol == "bearer"
    await ws.close()


async def test_a_first_message_may_bring_it(served: Served) -> None:
    async with served.socket(additional_headers={}) as ws:
        await ws.send(msgspec.json.encode({"type": "auth", "token": served.key}).decode())
        assert (await read(ws))["type"] == "authenticated"
        await ws.send(TOPIC)
        assert (await read(ws))["topics"] == ["news"]


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_a_page_of_another_host_is_refused(served: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket(origin=origin)


async def test_a_credential_that_is_not_good_is_refused(served: Served) -> None:
    async with served.socket(additional_headers={"Authorization": "Bearer junk"}) as ws:
        assert await close_code(ws) == 4401


async def test_no_rights_no_topic(served: Served) -> None:
    async with served.socket(additional_headers={"X-API-Key": served.poor}) as ws:
        await ws.send('{"type":"subscribe","topics":["service:crm","tag:mailbox:bob","resource:/api/v1/crm/x"]}')
        said = await read(ws)
        assert said["topics"] == []
        assert [refused["code"] for refused in said["refused"]] == ["forbidden"] * 3


async def test_a_revoked_key_ends_its_sockets(served: Served) -> None:
    key = served.manage("apikey", "create", "short", "--scope", "*")
    async with asyncio.timeout(20):
        while True:
            ws: ClientConnection = await served.socket(additional_headers={"X-API-Key": key})
            try:
                await ws.send(TOPIC)
                assert (await read(ws))["type"] == "subscribed"
                break
            except ConnectionClosed:  # this worker has not heard of the key yet
                continue
    await asyncio.to_thread(served.manage, "apikey", "revoke", key.split("_")[1])
    assert await close_code(ws) == 4401


async def test_a_circuit_that_opens_is_told_once(served: Served) -> None:
    async with served.socket() as ws:
        await ws.send('{"type":"subscribe","topics":["service:crm"]}')
        assert (await read(ws))["topics"] == ["service:crm"]
        headers = {"X-API-Key": served.key}
        answer = await asyncio.to_thread(
            lambda: requests.get(f"{served.url}/api/v1/crm/x", headers=headers, timeout=20)
        )
        assert answer.status_code == 502
        said = await read(ws)
        assert (said["type"], said["data"]["after"]) == ("circuit", "OPEN")


async def test_fragments_and_control_frames_are_put_together(served: Served) -> None:
    async with served.socket() as ws:
        await ws.send(["{", '"type":', '"ping"}'])
        await ws.ping()
        assert (await read(ws))["type"] == "pong"


def test_the_same_as_server_sent_events_with_what_was_missed(served: Served) -> None:
    first = served.publish(1).json()["id"]
    served.publish({"text": "a\nb"})
    headers = {"X-API-Key": served.key, "Last-Event-ID": first}
    with requests.get(f"{served.url}/events?topics=news", headers=headers, stream=True, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = (line for line in answer.iter_lines() if line.startswith(b"data: {"))
        assert msgspec.json.decode(next(lines)[6:])["data"] == {"text": "a\nb"}
        served.publish(3)
        assert msgspec.json.decode(next(lines)[6:])["data"] == 3


def test_what_may_not_be_published_is_refused_in_problem_documents(served: Served) -> None:
    def said(answer: requests.Response) -> tuple[int, str]:
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"]

    assert said(requests.post(f"{served.url}/events", b"{}", timeout=20)) == (401, "unauthenticated")
    assert said(served.publish(1, served.poor)) == (403, "forbidden")
    assert said(served.publish(1, topic="service:nope")) == (403, "forbidden")
    assert said(served.publish("x" * 70_000)) == (413, "body_too_large")
    assert said(served.publish(1, more="x")) == (400, "bad_request")
    assert said(served.publish(1, type="circuit")) == (400, "bad_request")
    assert said(requests.get(f"{served.url}/events", headers={"X-API-Key": served.key}, timeout=20))[0] == 400


# The examples in docs/


def test_the_example_in_python_follows(served: Served) -> None:
    command = [sys.executable, "docs/examples/events.py", served.url.replace("http", "ws", 1), served.key, "example"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdout is not None
            with publishing(served):
                said = msgspec.json.decode(program.stdout.readline())
        finally:
            program.kill()
    assert (said["type"], said["topic"]) == ("tick", "example")


@pytest.mark.skipif(not CHROMIUM and "NOTHING_SKIPPED" not in os.environ, reason="there is no Chromium on PATH")
def test_the_example_for_browsers_follows_in_a_browser(served: Served) -> None:
    module = (ROOT / "docs/examples/events.js").read_text().replace("export function", "window.follow = function", 1)
    begin = """([gateway, token]) => new Promise((heard) => { follow(gateway, () => token, ["example"], heard); })"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{served.url}/health")
        page.evaluate(module)
        with publishing(served):
            said = page.evaluate(begin, [served.url.replace("http", "ws", 1), served.key])
        browser.close()
    assert (said["type"], said["topic"]) == ("tick", "example")


@contextmanager
def publishing(served: Served) -> Iterator[None]:
    """Events without end: whoever subscribes, whenever it is ready, hears one."""
    stop = Event()

    def publish() -> None:
        while not stop.wait(0.1):
            served.publish(1, topic="example")

    publisher = Thread(target=publish)
    publisher.start()
    try:
        yield
    finally:
        stop.set()
        publisher.join()


# WebSockets to services


async def test_messages_pass_both_ways_and_the_backend_learns_who_asks(served: Served) -> None:
    headers = {"X-API-Key": served.key, "X-Gateway-Caller": "key:forged", "Cookie": "sessionid=1; a=b"}
    async with served.socket("/api/v1/live/room/7?x=1", additional_headers=headers) as ws:
        said = await read(ws)
        assert said["path"] == "/base/room/7?x=1"
        fields = said["fields"]
        assert fields["x-gateway-caller"] == f"key:{served.key.split('_')[1]}"
        assert fields["x-inside"] == "secret"
        assert fields["cookie"] == "a=b"
        assert served.key not in str(fields)
        for message in ("text", b"\x00\xff", "x" * 500_000):
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send("bye")
        assert await close_code(ws) == 4123


async def test_a_subprotocol_is_settled_with_the_backend_and_a_token_is_not_passed_on(served: Served) -> None:
    ws = await served.socket("/api/v1/live/", additional_headers={}, subprotocols=["bearer", served.key, "chat"])
    assert ws.subprotocol == "chat"
    assert served.key not in str(await read(ws))
    await ws.close()


async def test_a_message_over_the_limit_ends_it(served: Served) -> None:
    async with served.socket("/api/v1/live/", max_size=None) as ws:
        await read(ws)
        await ws.send("x" * 1_100_000)
        assert await close_code(ws) == 1009


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/api/v1/crm/", {}),
        ("/api/v1/nope/", {}),
        ("/api/v1/live/", {"origin": "http://evil.test"}),
        ("/api/v1/live/%2e%2e/x", {}),
        ("/elsewhere/", {}),
    ],
)
async def test_what_may_not_pass_is_refused(served: Served, path: str, more: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket(path, **more)


async def test_without_rights_a_service_takes_no_socket(served: Served) -> None:
    with pytest.raises(InvalidStatus):
        await served.socket("/api/v1/live/", additional_headers={"X-API-Key": served.poor})
    async with served.socket("/api/v1/live/", additional_headers={}) as ws:
        assert await close_code(ws) == 4401


async def test_a_backend_that_is_not_there_or_leads_elsewhere_is_a_bad_gateway(served: Served) -> None:
    for path in ("/api/v1/gone/", "/api/v1/live/elsewhere"):
        async with served.socket(path) as ws:
            assert await close_code(ws) == 1014
