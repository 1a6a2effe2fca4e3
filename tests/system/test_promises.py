"""What the contract promises of many requests, by one worker alone and by two on a Redis: the same."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import yaml

from tests.processes import eventually
from tests.system.backend import failing, ok
from tests.system.conftest import Gateway
from tests.system.server import Door, document

SOON = 1.5
"""Seconds in which a change must be live. The contract says one; the rest is for a machine with other things to do."""


def alternating(gateway: Gateway) -> Iterator[Door]:
    return cycle(gateway.doors().values())


def test_of_150_rapid_requests_by_one_caller_exactly_100_pass(either: Gateway) -> None:
    doors = list(either.doors().values())

    def rapid(door: Door) -> Counter[int]:
        return Counter(door.get("/api/v1/limited/x", either.seed.limited)[0] for _ in range(150 // len(doors)))

    with ThreadPoolExecutor(len(doors)) as threads:
        assert sum(threads.map(rapid, doors), Counter()) == {200: 100, 429: 50}


def test_two_callers_never_see_each_others_answer(either: Gateway) -> None:
    callers = {key: f"key:{key.split('_')[1]}".encode() for key in (either.seed.ours, either.seed.theirs)}
    verdicts = set()
    for _ in range(5):
        for door in either.doors().values():
            for key, caller in callers.items():
                status, headers, body = door.get("/api/v1/plain/whoami", key)
                assert (status, body) == (200, caller)
                verdicts.add(headers["x-cache"])
    assert verdicts == {"MISS", "HIT"}
    assert either.backend.asked("/whoami") % 2 == 0


def test_five_failures_open_the_circuit_and_two_good_answers_close_it(either: Gateway) -> None:
    path, key, scripts = "/flaky", either.seed.ours, either.backend.scripts
    scripts[path] = failing()
    door, *others = either.doors().values()
    assert [door.get(f"/api/v1/flaky{path}", key)[0] for _ in range(5)] == [500] * 5
    asked = either.backend.asked(path)
    status, headers, body = door.get(f"/api/v1/flaky{path}", key)
    assert (status, headers["x-circuit-state"], headers["content-type"]) == (503, "OPEN", "application/problem+json")
    assert b'"circuit_open"' in body
    scripts[path] = ok()
    for other in others:  # which hears of it a moment later, and meanwhile would find the backend well
        assert eventually(lambda other=other: other.get(f"/api/v1/flaky{path}", key)[0] == 503, SOON)  # type: ignore[misc]
    seen = closing(alternating(either), f"/api/v1/flaky{path}", key)
    assert seen == ["HALF_OPEN", "HALF_OPEN", "CLOSED"]
    assert either.backend.asked(path) >= asked + 3
    for each in (door, *others):
        assert eventually(lambda each=each: "x-circuit-state" not in each.get(f"/api/v1/flaky{path}", key)[1], SOON)  # type: ignore[misc]


def closing(doors: Iterator[Door], path: str, key: str) -> list[str]:
    """The states in which answers came that were let through, until one came through a closed circuit."""
    states: list[str] = []

    def closed() -> bool:
        status, headers, _ = next(doors).get(path, key)
        if status == 200:
            states.append(headers.get("x-circuit-state", "CLOSED"))
        return states[-1:] == ["CLOSED"]

    assert eventually(closed), states
    return states


def live_after(gateway: Gateway, is_live: Callable[[Door], bool], since: float) -> float:
    """Seconds from `since` until every worker shows the change."""
    assert all(eventually(lambda door=door: is_live(door), 10) for door in gateway.doors().values())  # type: ignore[misc]
    return time.time() - since


def test_a_saved_change_is_live_in_every_worker_within_a_second(either: Gateway) -> None:
    services = yaml.safe_load(either.manage("config", "export"))["services"]
    more = {**services, "added": services["plain"]}
    key = either.seed.ours
    either.manage("config", "apply", "-", stdin=document(more))
    applied = live_after(either, lambda door: door.get("/api/v1/added/x", key)[0] == 200, time.time())
    saved_at = shell(either, "service = Service.objects.get(name='added'); service.enabled = False; service.save()")
    saved = live_after(either, lambda door: door.get("/api/v1/added/x", key)[0] == 503, saved_at)
    either.manage("config", "apply", "-", stdin=document(services))
    removed = live_after(either, lambda door: door.get("/api/v1/added/x", key)[0] == 404, time.time())
    assert max(applied, saved, removed) < SOON


def shell(gateway: Gateway, code: str) -> float:
    """Run `code` with the gateway's models, as another process would; when it was done, in Unix time."""
    lines = ["import time", "from routing.models import *", "from routing import signals", code, "print(time.time())"]
    return float(gateway.manage("shell", "--verbosity", "0", "-c", "\n".join(lines)).split()[-1])


def test_a_bad_configuration_leaves_the_last_good_one_serving(either: Gateway) -> None:
    """One that no form and no file would let in: written past both."""
    fault = "the configuration cannot be loaded; the last valid one stays in use"
    before = either.log.count(fault)
    shell(either, "Service.objects.filter(name='plain').update(timeout={'connect': 'soon'}); signals.bump()")
    assert eventually(lambda: either.log.count(fault) >= before + len(either.workers))
    assert {door.get("/api/v1/plain/x", either.seed.ours)[0] for door in either.doors().values()} == {200}
    shell(either, "Service.objects.filter(name='plain').update(timeout=None, enabled=False); signals.bump()")
    disabled = live_after(either, lambda door: door.get("/api/v1/plain/x?", either.seed.ours)[0] == 503, time.time())
    assert disabled < SOON
    either.manage("config", "apply", either.environment["GATEWAY_CONFIG"])
    live_after(either, lambda door: door.get("/api/v1/plain/x", either.seed.ours)[0] == 200, time.time())


def test_a_revoked_key_is_refused_by_every_worker_within_a_second(either: Gateway) -> None:
    key = either.manage("apikey", "create", "for a while").split()[-1]
    live_after(either, lambda door: door.get("/api/v1/plain/x", key)[0] == 200, time.time())
    either.manage("apikey", "revoke", key.split("_")[1])
    refused = live_after(either, lambda door: door.get("/api/v1/plain/x", key)[0] == 401, time.time())
    assert refused < SOON
