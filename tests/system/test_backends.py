"""Two workers, a real Redis, and backends that fail, die and come back: what the cluster promises of its circuits."""

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

from benchmarks.crowd import Answer, crowd
from routing.upstream.retry_budget import RESERVE
from tests.origin import Peer
from tests.processes import eventually
from tests.redis_server import RedisServer
from tests.system.backend import Backend, failing, ok
from tests.system.conftest import PLENTY, Seed, gateway
from tests.system.server import ROOT, Door, Server, document

SOON = 2.0
"""Seconds in which news reaches each worker on a machine with other things to do: by message, or by its own look."""
RECOVERY = 5.0
"""Seconds after which all workers are of one mind again."""
OPEN_FOR = 10.0
PERMITS = 2
WORKERS = 2


@contextmanager
def serving(seed: Seed, redis: RedisServer, **services: Any) -> Iterator[Server]:
    with Backend({}) as backend:  # for the services of conftest.py, whose place these take
        server = gateway(seed, backend, "--workers", str(WORKERS), REDIS_URL=redis.url)
        common = {"rate_limit": PLENTY, "cache": False}
        text = document({name: {**common, **said} for name, said in services.items()})
        (server.directory / "gateway.yaml").write_text(text)
        with server:
            yield server


class Logged:
    """Keeps when each call of a backend's path began and was answered. It fails until told to hang, then to be well."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.answered: list[float] = []
        self.hangs = False
        self.healthy = threading.Event()

    async def __call__(self, peer: Peer) -> None:
        self.begun.append(time.monotonic())
        await peer.read_body()
        if self.hangs:
            await asyncio.to_thread(self.healthy.wait, 60)
        await peer.send(ok() if self.healthy.is_set() else failing())
        self.answered.append(time.monotonic())


class Asking:
    """A crowd that goes on asking, beside the test, until it is told to stop."""

    def __init__(self, server: Server, path: str, key: str, size: int, pause: float) -> None:
        self.answers: list[Answer] = []
        self.over = False
        asked = crowd(server.address + path, key, size, self._noted, pause)
        self._thread = ThreadPoolExecutor(1)
        self._future = self._thread.submit(asyncio.run, asked)

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self._future.result()
        self._thread.shutdown()

    def goes_on(self, answers: int) -> None:
        """Returns when so many more have come."""
        so_far = len(self.answers)
        assert eventually(lambda: len(self.answers) >= so_far + answers), "the gateway does not answer"

    def _noted(self, answer: Answer) -> bool:
        self.answers.append(answer)
        return not self.over


def is_open(door: Door, path: str, key: str) -> bool:
    status, headers, _ = door.get(path, key)
    return (status, headers.get("x-circuit-state")) == (503, "OPEN")


def test_of_200_at_once_a_failing_backend_is_spared_by_both_workers_and_then_gets_its_probes(
    seed: Seed, own_redis: RedisServer
) -> None:
    calls, path = Logged(), "/api/v1/failing/x"
    breaker = {"failure_threshold": 5, "open_for": f"{OPEN_FOR}s", "half_open_permits": PERMITS}
    with Backend({"/x": calls}) as backend:
        failing_service = {"targets": backend.targets, "breaker": breaker, "retries": {"attempts": 1}}
        with serving(seed, own_redis, failing=failing_service) as server:
            doors = server.doors().values()
            with Asking(server, path, seed.ours, 200, pause=0.2) as asking:
                assert eventually(lambda: len(calls.answered) >= 5)
                fifth = sorted(calls.answered)[4]
                assert eventually(lambda: time.monotonic() > fifth + SOON)
                asking.goes_on(400)
                late = [begun - fifth for begun in calls.begun if begun > fifth + SOON]
                assert not any(after < OPEN_FOR for after in late), "called while its circuit was open"
                assert late or all(is_open(door, path, seed.ours) for door in doors)
                assert asking.answers[0].status == 500

                spared = len(calls.begun)
                calls.hangs = True
                assert eventually(lambda: len(calls.begun) >= spared + PERMITS, OPEN_FOR + 30)
                asking.goes_on(400)
                assert len(calls.begun) == spared + PERMITS, "more probes than permits"
                assert {answer.status for answer in asking.answers[-200:]} == {503}
                calls.healthy.set()
                assert eventually(lambda: asking.answers[-1].status == 200)
            assert {answer.status for answer in asking.answers} == {500, 503, 200}


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
    """When each was written down, in Unix time."""
    lines = [line for line in server.log.splitlines() if "is ejected by this worker" in line]
    return [datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp() for line in lines]


def access_lines(server: Server, path: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("path") == path]


def test_one_of_two_targets_killed_under_load_fails_nobody_after_its_ejection(
    seed: Seed, own_redis: RedisServer
) -> None:
    path = "/api/v1/both/x"
    with ExitStack() as stack:
        (doomed, url), (_, other) = stack.enter_context(target()), stack.enter_context(target())
        server = stack.enter_context(serving(seed, own_redis, both={"targets": [{"url": url}, {"url": other}]}))
        with Asking(server, path, seed.ours, 16, pause=0.0) as asking:
            asking.goes_on(300)
            doomed.kill()
            asking.goes_on(1500)
            assert eventually(lambda: bool(ejections(server))), "nobody left it out"
        offset = time.time() - time.monotonic()
        failed = [answer.begun + offset for answer in asking.answers if answer.status != 200]
        assert not [at for at in failed if at > min(ejections(server))], Counter(a.status for a in asking.answers)
        assert len(failed) <= 16, "none but those that were out when it died"
        total = len(asking.answers)
        assert eventually(lambda: len(access_lines(server, path)) >= total)
        repeats = sum(line["retries"] for line in access_lines(server, path))
        assert 1 <= repeats <= 0.2 * total + WORKERS * RESERVE
        assert "the circuit of both" not in server.log


def test_a_circuit_that_one_worker_opened_alone_is_agreed_on_when_redis_is_back(
    seed: Seed, own_redis: RedisServer
) -> None:
    scripts = {"/bad": failing(), "/good": ok()}
    with Backend(scripts) as backend:
        fragile = {"targets": backend.targets, "breaker": {"open_for": "10m"}, "retries": {"attempts": 1}}
        with serving(seed, own_redis, fragile=fragile) as server:
            one, other = server.doors().values()
            bad, good, key = "/api/v1/fragile/bad", "/api/v1/fragile/good", seed.ours
            assert [says(door) for door in (one, other)] == ["ok", "ok"]
            own_redis.stop()
            assert [one.get(bad, key)[0] for _ in range(7)] == [500] * 5 + [503] * 2
            assert other.get(good, key)[0] == 200, "it decides alone, and has seen no failure"
            assert all(eventually(lambda door=door: says(door) == "degraded") for door in (one, other))  # type: ignore[misc]
            assert other.get(good, key)[0] == 200
            own_redis.start()
            back = time.monotonic()
            assert eventually(lambda: is_open(other, good, key)), "what one learnt alone is not shared"
            assert time.monotonic() - back < RECOVERY
            assert is_open(one, good, key)
            assert all(eventually(lambda door=door: says(door) == "ok") for door in (one, other))  # type: ignore[misc]


def says(door: Door) -> str:
    """What a worker's deep health says of circuits."""
    return str(json.loads(door.get("/health/deep", "")[2])["checks"]["circuits"]["status"])
