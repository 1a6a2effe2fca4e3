"""Writes: blocking, for Django's threads. Each is on record with who did it before it answers."""

from collections.abc import Sequence
from http.client import OK
from typing import Final

import msgspec

from metrics import selectors
from metrics.counting import aggregates
from metrics.middleware import current_request_id
from metrics.models import Operation
from metrics.read_models import WarmResult
from metrics.runtime_access import run_on_loop, running
from metrics.selectors import configured
from resilience.breaker.driver import Breaker
from resilience.breaker.machine import State
from resilience.cache.heat import ReplayableRequest
from resilience.cache.policy import Scope
from resilience.cache.service import SERVICE
from routing.errors import GatewayError
from routing.http import Request
from routing.router import paths
from routing.views import staff_caller

ACTIONS: Final = {State.CLOSED: "circuit.reset", State.FORCED_OPEN: "circuit.open", State.DISABLED: "circuit.disable"}
MOST_PATHS: Final = 100
"""Paths warmed at once: as many as the usual limit lets a caller ask for in a minute."""
REASON_LENGTH: Final = 500
WARMER: Final = "system:warm"
"""Who asks when nobody does."""


def record(
    actor: str, action: str, service: str = "", *, before: object = None, after: object = None, request_id: str = ""
) -> Operation:
    """Write down that `actor` did `action`. `before` and `after` are what JSON can hold.

    `request_id` is that of the request being answered, unless said.
    """
    return Operation.objects.create(
        actor=actor[:200],
        action=action,
        service=service,
        before=before,
        after=after,
        request_id=request_id or current_request_id(),
    )


def reset_cache_statistics(actor: str, *, request_id: str = "") -> None:
    """Hits and misses count from zero again; what is cached stays."""
    usage = selectors.cache_usage()
    aggregates.reset(selectors.cache_counts())
    before = {"hits": usage.hits, "misses": usage.misses}
    record(actor, "cache.reset", before=before, after={"hits": 0, "misses": 0}, request_id=request_id)


def flush(actor: str, *, request_id: str = "") -> int:
    """Empty the cache; how many entries went. Raises StoreUnavailable."""
    names = sorted({*running().gateway.live.table.services, SERVICE})
    before = _held(names)
    gone = run_on_loop(running().cache.invalidate_all(names))
    record(actor, "cache.flush", before=before, after={"keysDeleted": gone}, request_id=request_id)
    return gone


def invalidate(actor: str, service: str, tag: str | None = None, *, dry_run: bool = False, request_id: str = "") -> int:
    """Take back a service's entries, those with `tag` or all; how many went, or with `dry_run` would go.

    Raises UnknownService, StoreUnavailable.
    """
    configured(service)
    cache = running().cache
    if dry_run:
        return run_on_loop(cache.usage(service, tag)).entries
    before = _held([service], tag)
    gone = run_on_loop(cache.invalidate(service, None if tag is None else [tag]))
    after = {"keysDeleted": gone} if tag is None else {"tag": tag[:REASON_LENGTH], "keysDeleted": gone}
    record(actor, "cache.invalidate", service, before=before, after=after, request_id=request_id)
    return gone


def _held(names: Sequence[str], tag: str | None = None) -> dict[str, int] | None:
    """What the cache had, a moment before it was taken back."""
    held = run_on_loop(running().cache.usage_of(names, tag))
    return held and held._asdict()


def reset_circuits(actor: str, *, request_id: str = "") -> list[str]:
    """Close every circuit that is not; their names."""
    names = [circuit.service for circuit in selectors.circuits() if circuit.state != State.CLOSED]
    for name in names:
        override_circuit(actor, name, State.CLOSED, request_id=request_id)
    if not names:
        record(actor, ACTIONS[State.CLOSED], after={"reset": []}, request_id=request_id)
    return names


def override_circuit(
    actor: str, service: str, state: State, ttl: float | None = None, reason: str = "", *, request_id: str = ""
) -> State:
    """Move a circuit to CLOSED (reset), FORCED_OPEN or DISABLED, for `ttl` seconds or until the next order.

    Raises UnknownService.
    """
    policy = configured(service).policy.breaker
    breaker = running().breakers.of(service, policy)
    until = None if ttl is None else running().flusher.now() + ttl
    before = _told(breaker)
    run_on_loop(breaker.order(state, until, reason[:REASON_LENGTH]))
    record(actor, ACTIONS[state], service, before=before, after=_told(breaker), request_id=request_id)
    return breaker.state()


def warm(actor: str, paths: Sequence[str] = (), *, dry_run: bool = False, request_id: str = "") -> WarmResult:
    """Fetch `paths` (`/api/v1/<service>/...`), or where none are given the most-hit answers, so that they are cached.

    Of `paths`, only answers that all callers share can be made ready for them; the rest counts as failed. The most-hit
    ones are fetched again each as the caller whose answer it is. With `dry_run` nothing is fetched, only counted.
    Raises StoreUnavailable.
    """
    if dry_run:
        return _would_warm(paths)
    outcome = _warm_listed(paths) if paths else _warm_hottest()
    after = {"warmed": outcome.warmed, "failed": outcome.failed}
    record(actor, "cache.warm", after=after, request_id=request_id)
    return outcome


def _would_warm(paths: Sequence[str]) -> WarmResult:
    if not paths:
        return WarmResult(warmed=0, failed=0, would_warm=len(_hottest()))
    wanted = _wanted(paths)
    ready = sum(_asked(path) is not None for path in wanted)
    return WarmResult(warmed=0, failed=len(wanted) - ready, would_warm=ready)


def _wanted(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(paths))[:MOST_PATHS]


def _warm_listed(paths: Sequence[str]) -> WarmResult:
    wanted = _wanted(paths)
    warmed = sum([run_on_loop(_fetch(path)) for path in wanted])
    return WarmResult(warmed=warmed, failed=len(wanted) - warmed)


def _warm_hottest() -> WarmResult:
    done = run_on_loop(running().warmer.warm(_hottest()))
    return WarmResult(warmed=done.warmed, failed=done.failed)


def _hottest() -> list[ReplayableRequest]:
    services = list(running().gateway.live.table.services)
    return run_on_loop(running().warmer.most_requested(services, max(1, MOST_PATHS // max(1, len(services)))))[
        :MOST_PATHS
    ]


async def _fetch(path: str) -> bool:
    """Whether the answer to `path` is in the shared cache now."""
    request = _asked(path)
    if request is None:
        return False
    response = await running().gateway.handle(request)
    try:
        if not isinstance(response.body, bytes):
            async for _ in response.body:
                pass
    except GatewayError:
        return False
    return response.status == OK


def _asked(path: str) -> Request | None:
    """The request that makes `path` ready for all callers; None where its answer is not one that they share."""
    target, _, query = path.encode().partition(b"?")
    try:
        place = paths.split(target)
        if place is None:
            return None
        match = running().gateway.live.table.match(place.service, "GET", place.rest)
    except GatewayError:
        return None
    if match.policy.cache is None or match.policy.cache.scope is not Scope.SHARED:
        return None
    caller = msgspec.structs.replace(staff_caller("warm"), id=WARMER)
    return Request("GET", target, query, [(b"host", b"gateway"), (b"accept", b"*/*")], "127.0.0.1", caller=caller)


def _told(breaker: Breaker) -> dict[str, object]:
    snapshot = breaker.snapshot
    told: dict[str, object] = {"state": snapshot.state.value}
    if snapshot.until is not None:
        told["until"] = snapshot.until
    return told | ({"reason": snapshot.reason} if snapshot.reason else {})
