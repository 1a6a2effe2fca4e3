"""Circuits and targets across two workers over a real Redis, with backends that fail, die and recover."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Any

from benchmarks.load_generator import Sample, closed_loop
from routing.upstream.registry import RESERVE
from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing, ok
from tests.system.conftest import UNLIMITED, Seed, gateway
from tests.system.server import ROOT, Server, WorkerConnection, document

LIVE_SECONDS = 2.0
"""Seconds in which a change reaches each worker on a busy machine, by message or by polling."""
RECOVERY_SECONDS = 5.0
"""Seconds after which all workers share state again."""
OPEN_FOR = 10.0
PERMITS = 2
WORKERS = 2


@contextmanager
def serving(seed: Seed, redis: RedisServer, **services: Any) -> Iterator[Server]:
    with Backend({}) as backend:  # for the services of conftest.py, which these replace
        server = gateway(seed, backend, "--workers", str(WORKERS), REDIS_URL=redis.url)
        common = {"rate_limit": UNLIMITED, "cache": False}
        text = document({name: {**common, **service} for name, service in services.items()})
        (server.directory / "gateway.yaml").write_text(text)
        with server:
            yield server


class CallLog:
    """A backend that records when calls start and end. It fails, or waits if `hanging`, until `healthy` is set."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.finished: list[float] = []
        self.hanging = False
        self.healthy = threading.Event()

    async def __call__(self, peer: Peer) -> None:
        self.started.append(time.monotonic())
        await peer.read_body()
        if self.hanging:
            await asyncio.to_thread(self.healthy.wait, 60)
        await peer.send(ok() if self.healthy.is_set() else failing())
        self.finished.append(time.monotonic())


class Crowd:
    """Clients that send requests in the background until the end of the `with` block."""

    def __init__(self, server: Server, path: str, key: str, size: int, pause: float) -> None:
        self.responses: list[Sample] = []
        self.stopping = False
        work = closed_loop(server.address + path, key, size, self._record, pause)
        self._thread = ThreadPoolExecutor(1)
        self._future = self._thread.submit(asyncio.run, work)

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping = True
        self._future.result()
        self._thread.shutdown()

    def wait_for_responses(self, responses: int) -> None:
        """Wait for this many more responses."""
        before = len(self.responses)
        assert eventually(lambda: len(self.responses) >= before + responses), "the gateway does not respond"

    def _record(self, response: Sample) -> bool:
        self.responses.append(response)
        return not self.stopping


def is_open(worker: WorkerConnection, path: str, key: str) -> bool:
    status, headers, _ = worker.get(path, key)
    return (status, headers.get("x-circuit-state")) == (503, "OPEN")


def test_an_open_circuit_spares_the_backend_in_both_workers_and_then_sends_its_probes(
    seed: Seed, own_redis: RedisServer
) -> None:
    calls, path = CallLog(), "/api/v1/failing/x"
    breaker = {"failure_threshold": 5, "open_for": f"{OPEN_FOR}s", "half_open_permits": PERMITS}
    with Backend({"/x": calls}) as backend:
        failing_service = {"targets": backend.targets, "breaker": breaker, "retries": {"attempts": 1}}
        with serving(seed, own_redis, failing=failing_service) as server:
            connections = server.connections().values()
            with Crowd(server, path, seed.ours, 200, pause=0.2) as clients:
                assert eventually(lambda: len(calls.finished) >= 5)
                fifth = sorted(calls.finished)[4]
                assert eventually(lambda: time.monotonic() > fifth + LIVE_SECONDS)
                clients.wait_for_responses(400)
                late = [begun - fifth for begun in calls.started if begun > fifth + LIVE_SECONDS]
                assert not any(after < OPEN_FOR for after in late), "called while its circuit was open"
                assert late or all(is_open(worker, path, seed.ours) for worker in connections)
                assert clients.responses[0].status == 500

                calls_before_probes = len(calls.started)
                calls.hanging = True
                assert eventually(lambda: len(calls.started) >= calls_before_probes + PERMITS, OPEN_FOR + 30)
                clients.wait_for_responses(400)
                assert len(calls.started) == calls_before_probes + PERMITS, "more probes than permits"
                assert {response.status for response in clients.responses[-200:]} == {503}
                calls.healthy.set()
                assert eventually(lambda: clients.responses[-1].status == 200)
            assert {response.status for response in clients.responses} == {500, 503, 200}


@contextmanager
def target() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.system.target"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ejections(server: Server) -> list[float]:
    """When each ejection was logged, in Unix time."""
    lines = [json.loads(line) for line in server.log.splitlines() if "is ejected by this worker" in line]
    return [datetime.fromisoformat(line["at"]).timestamp() for line in lines]


def access_lines(server: Server, path: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("path") == path]


def test_no_request_fails_after_a_killed_target_is_ejected(seed: Seed, own_redis: RedisServer) -> None:
    path = "/api/v1/both/x"
    with ExitStack() as stack:
        (doomed, url), (_, other) = stack.enter_context(target()), stack.enter_context(target())
        server = stack.enter_context(serving(seed, own_redis, both={"targets": [{"url": url}, {"url": other}]}))
        with Crowd(server, path, seed.ours, 16, pause=0.0) as clients:
            clients.wait_for_responses(300)
            doomed.kill()
            clients.wait_for_responses(1500)
            assert eventually(lambda: bool(ejections(server))), "it was not ejected"
        offset = time.time() - time.monotonic()
        failed = [response.started + offset for response in clients.responses if response.status != 200]
        assert not [at for at in failed if at > min(ejections(server))], Counter(a.status for a in clients.responses)
        assert len(failed) <= 16, "only requests in flight when it died may fail"
        total = len(clients.responses)
        assert eventually(lambda: len(access_lines(server, path)) >= total)
        retries = sum(line["retries"] for line in access_lines(server, path))
        assert 1 <= retries <= 0.2 * total + WORKERS * RESERVE
        assert "the circuit of both" not in server.log


def test_a_circuit_opened_during_an_outage_of_redis_is_shared_when_it_returns(
    seed: Seed, own_redis: RedisServer
) -> None:
    scripts = {"/bad": failing(), "/good": ok()}
    with Backend(scripts) as backend:
        fragile = {"targets": backend.targets, "breaker": {"open_for": "10m"}, "retries": {"attempts": 1}}
        with serving(seed, own_redis, fragile=fragile) as server:
            one, other = server.connections().values()
            bad, good, key = "/api/v1/fragile/bad", "/api/v1/fragile/good", seed.ours
            assert [circuits(worker) for worker in (one, other)] == ["ok", "ok"]
            own_redis.stop()
            assert [one.get(bad, key)[0] for _ in range(7)] == [500] * 5 + [503] * 2
            assert other.get(good, key)[0] == 200, "it decides locally, and has seen no failure"
            assert all(eventually(lambda worker=worker: circuits(worker) == "degraded") for worker in (one, other))  # type: ignore[misc]
            assert other.get(good, key)[0] == 200
            own_redis.start()
            back = time.monotonic()
            assert eventually(lambda: is_open(other, good, key)), "the circuit is not shared"
            assert time.monotonic() - back < RECOVERY_SECONDS
            assert is_open(one, good, key)
            assert all(eventually(lambda worker=worker: circuits(worker) == "ok") for worker in (one, other))  # type: ignore[misc]


def circuits(worker: WorkerConnection) -> str:
    """The status of the circuits check in a worker's deep health."""
    return str(json.loads(worker.get("/health/deep", "")[2])["checks"]["circuits"]["status"])
