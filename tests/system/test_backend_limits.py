"""A backend's limits with one worker and with two over a real Redis: no call until their end, then one probe."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.origin import Peer
from tests.processes import eventually
from tests.system.backend import ok
from tests.system.conftest import Gateway

SECONDS = 3


def limited(seconds: int) -> bytes:
    return f"HTTP/1.1 429 X\r\nRetry-After: {seconds}\r\nContent-Length: 0\r\n\r\n".encode()


def from_every_worker(gateway: Gateway, path: str) -> list[Callable[[], tuple[int, dict[str, str], bytes]]]:
    connections = gateway.server.connections()
    return [lambda each=each: each.get(path, gateway.seed.ours) for each in connections.values()]  # type: ignore[misc]


@pytest.fixture
def path(either: Gateway, request: pytest.FixtureRequest) -> str:
    """A path of its own for each test and gateway."""
    return f"/{request.node.originalname}-{len(either.server.workers)}"


def test_no_call_reaches_the_backend_until_the_end(either: Gateway, path: str) -> None:
    """Neither by the worker that was told nor by the other; then one probe, and the longer end wins."""
    backend = either.backend
    ends = iter([limited(1), limited(SECONDS)])
    began: list[float] = []

    async def script(peer: Peer) -> None:
        began.append(time.monotonic())
        await peer.send(next(ends, ok()))

    backend.scripts[path] = script
    send = from_every_worker(either, f"/api/v1/held{path}")
    assert send[0]()[0] == 429
    assert {each()[0] for each in send * 3} == {429}
    assert backend.request_count(path) == 1
    assert eventually(lambda: send[-1]()[0] == 429 and backend.request_count(path) == 2, 10), "the probe is limited too"
    limited_at = time.monotonic()
    codes: Counter[str] = Counter()
    while time.monotonic() < limited_at + SECONDS - 1:
        status, fields, body = send[len(codes) % len(send)]()
        codes[json.loads(body)["code"]] += 1
        assert (status, 0 < int(fields["retry-after"]) <= SECONDS) == (429, True)
    assert codes.keys() == {"backend_limited"}
    assert backend.request_count(path) == 2
    assert eventually(lambda: all(each()[0] == 200 for each in send), 10)
    assert began[2] - began[1] >= SECONDS - 0.1


def test_one_probe_in_the_cluster(either: Gateway, path: str) -> None:
    backend, go_on = either.backend, threading.Event()
    calls = 0

    async def script(peer: Peer) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await peer.send(limited(1))
            return
        await asyncio.to_thread(go_on.wait, 20)
        await peer.send(ok())

    backend.scripts[path] = script
    url = f"/api/v1/held{path}"
    assert either.server.get(url, either.seed.ours).status_code == 429
    time.sleep(1.1)
    with ThreadPoolExecutor(12) as pool:
        sent = [pool.submit(either.server.get, url, either.seed.ours) for _ in range(12)]
        assert eventually(lambda: sum(each.done() for each in sent) == 11, 20)
        assert backend.request_count(path) == 2
        go_on.set()
        statuses = Counter(each.result().status_code for each in sent)
    assert statuses == {200: 1, 429: 11}


def test_an_outbound_limit_is_exact(either: Gateway, path: str) -> None:
    send = from_every_worker(either, f"/api/v1/paced{path}")
    statuses = Counter(send[number % len(send)]()[0] for number in range(40))
    assert statuses == {200: 15, 429: 25}
    assert either.backend.request_count(path) == 15
