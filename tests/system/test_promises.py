"""Guarantees that hold with one worker and with two over Redis: limits, isolation, circuits and reloads."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle

import pytest
import yaml

from tests.processes import eventually
from tests.system.backend import failing, ok
from tests.system.conftest import Gateway
from tests.system.server import WorkerConnection

LIVE_SECONDS = 1.5
"""Seconds in which a change must be live. The guarantee is one; the rest is for a busy machine."""


def alternating(gateway: Gateway) -> Iterator[WorkerConnection]:
    return cycle(gateway.connections().values())


def test_of_150_rapid_requests_by_one_caller_exactly_100_pass(either: Gateway) -> None:
    connections = list(either.connections().values())

    def rapid(worker: WorkerConnection) -> Counter[int]:
        return Counter(worker.get("/api/v1/limited/x", either.seed.limited)[0] for _ in range(150 // len(connections)))

    with ThreadPoolExecutor(len(connections)) as threads:
        assert sum(threads.map(rapid, connections), Counter()) == {200: 100, 429: 50}


def test_two_callers_never_receive_each_others_response(either: Gateway) -> None:
    callers = {key: f"key:{key.split('_')[1]}".encode() for key in (either.seed.ours, either.seed.theirs)}
    results = set()
    before = either.backend.request_count("/whoami")
    for _ in range(5):
        for worker in either.connections().values():
            for key, caller in callers.items():
                status, headers, body = worker.get("/api/v1/plain/whoami", key)
                assert (status, body) == (200, caller)
                results.add(headers["x-cache"])
    assert results == {"MISS", "HIT"}
    assert either.backend.request_count("/whoami") == before + len(callers)


@pytest.mark.alone
def test_five_failures_open_the_circuit_and_two_successes_close_it(either: Gateway) -> None:
    path, key, scripts = "/flaky", either.seed.ours, either.backend.scripts
    scripts[path] = failing()
    worker, *others = either.connections().values()
    assert [worker.get(f"/api/v1/flaky{path}", key)[0] for _ in range(5)] == [500] * 5
    before = either.backend.request_count(path)
    status, headers, body = worker.get(f"/api/v1/flaky{path}", key)
    assert (status, headers["x-circuit-state"], headers["content-type"]) == (503, "OPEN", "application/problem+json")
    assert b'"circuit_open"' in body
    scripts[path] = ok()
    for other in others:  # notified a moment later; until then its calls would succeed
        assert eventually(lambda other=other: other.get(f"/api/v1/flaky{path}", key)[0] == 503, LIVE_SECONDS)  # type: ignore[misc]
    seen = closing(alternating(either), f"/api/v1/flaky{path}", key)
    assert seen == ["HALF_OPEN", "HALF_OPEN", "CLOSED"]
    assert either.backend.request_count(path) >= before + 3
    for each in (worker, *others):
        assert eventually(partial(is_closed, each, f"/api/v1/flaky{path}", key), LIVE_SECONDS)


def is_closed(worker: WorkerConnection, path: str, key: str) -> bool:
    return "x-circuit-state" not in worker.get(path, key)[1]


def closing(connections: Iterator[WorkerConnection], path: str, key: str) -> list[str]:
    """The states of the circuit in successful responses, until it is closed."""
    states: list[str] = []

    def closed() -> bool:
        status, headers, _ = next(connections).get(path, key)
        if status == 200:
            states.append(headers.get("x-circuit-state", "CLOSED"))
        return states[-1:] == ["CLOSED"]

    assert eventually(closed), states
    return states


def live_after(
    gateway: Gateway, is_live: Callable[[WorkerConnection], bool], change: Callable[[], object] = lambda: None
) -> float:
    """Make a change. Returns the seconds until every worker shows it: since the Unix time that `change` returns, or
    else since its end.

    The workers are polled meanwhile: a process that makes a change takes a while to exit.
    """

    def live_at(worker: WorkerConnection) -> float:
        assert eventually(lambda: is_live(worker), 20)
        return time.time()

    workers = gateway.connections().values()
    with ThreadPoolExecutor(len(workers)) as threads:
        polls = [threads.submit(live_at, worker) for worker in workers]
        changed_at = change()
        since = changed_at if isinstance(changed_at, float) else time.time()
        return max(poll.result() for poll in polls) - since


@pytest.mark.alone
def test_a_saved_change_is_live_in_every_worker_within_a_second(either: Gateway) -> None:
    exported = yaml.safe_load(either.manage("config", "export"))
    services = exported["services"]
    more = {**exported, "services": {**services, "added": services["plain"]}}

    def status_of_added(worker: WorkerConnection, key: str = either.seed.ours) -> int:
        return worker.get("/api/v1/added/x", key)[0]

    applied = live_after(
        either,
        # Polls of a service that does not exist yet use up the gateway's own rate limit.
        lambda worker: status_of_added(worker, either.seed.theirs) == 200,
        lambda: either.manage("config", "apply", "-", stdin=json.dumps(more)),
    )
    saved = live_after(
        either,
        lambda worker: status_of_added(worker) == 503,
        lambda: shell(either, "service = Service.objects.get(name='added'); service.enabled = False; service.save()"),
    )
    removed = live_after(
        either,
        lambda worker: status_of_added(worker) == 404,
        lambda: either.manage("config", "apply", "--prune", "-", stdin=json.dumps(exported)),
    )
    assert max(applied, saved, removed) < LIVE_SECONDS


def shell(gateway: Gateway, code: str) -> float:
    """Run `code` with the gateway's models in another process. Returns when it finished, in Unix time."""
    lines = ["import time", "from routing.models import *", "from routing import signals", code, "print(time.time())"]
    return float(gateway.manage("shell", "--verbosity", "0", "-c", "\n".join(lines)).split()[-1])


@pytest.mark.alone
def test_an_invalid_configuration_leaves_the_last_valid_one_in_use(either: Gateway) -> None:
    """Written directly to the database, past the validation of forms and files."""
    fault = "the configuration cannot be loaded; the last valid one stays in use"
    before = either.log.count(fault)
    shell(
        either, "Service.objects.filter(name='plain').update(timeout={'connect': 'soon'}); signals.increment_version()"
    )
    assert eventually(lambda: either.log.count(fault) >= before + len(either.workers))
    assert {worker.get("/api/v1/plain/x", either.seed.ours)[0] for worker in either.connections().values()} == {200}
    repair = "Service.objects.filter(name='plain').update(timeout=None, enabled=False); signals.increment_version()"
    disabled = live_after(
        either,
        lambda worker: worker.get("/api/v1/plain/x?", either.seed.ours)[0] == 503,
        lambda: shell(either, repair),
    )
    assert disabled < LIVE_SECONDS
    either.manage("config", "apply", either.environment["GATEWAY_CONFIG"])
    live_after(either, lambda worker: worker.get("/api/v1/plain/x", either.seed.ours)[0] == 200)


@pytest.mark.alone
def test_a_revoked_key_is_refused_by_every_worker_within_a_second(either: Gateway) -> None:
    key = either.manage("apikey", "create", "for a while", "--all-services").split()[-1]
    live_after(either, lambda worker: worker.get("/api/v1/plain/x", key)[0] == 200)
    refused = live_after(
        either,
        lambda worker: worker.get("/api/v1/plain/x", key)[0] == 401,
        lambda: either.manage("apikey", "revoke", key.split("_")[1]),
    )
    assert refused < LIVE_SECONDS
