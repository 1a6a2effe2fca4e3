"""Writes, for Django's threads: they block. Each adds an entry to the audit log before it returns.

Operations on circuits and the cache work while the database is unavailable, too.
"""

from collections.abc import Sequence
from secrets import token_hex
from typing import Final

import msgspec
from django.db import transaction

from metrics import cluster_counts, selectors
from metrics.audit import record_operation, record_performed
from metrics.read_models import WarmResult
from metrics.runtime_access import run_on_loop, running
from resilience.breaker.driver import Breaker
from resilience.breaker.machine import State
from resilience.cache.hit_counter import ReplayableRequest
from resilience.cache.objects import SERVICE
from resilience.cache.policy import Scope
from routing.errors import Forbidden, GatewayError
from routing.http import Request
from routing.messages.bodies import drain
from routing.models import FailedDelivery, Watch
from routing.rights import Names
from routing.router import paths as service_paths
from routing.views import staff_caller
from routing.warming import LOCAL_ADDRESS, is_stored
from routing.watches.database import expedite
from routing.webhooks.delivery import decode, encode
from routing.webhooks.queue import Added

OVERRIDE_ACTIONS: Final = {
    State.CLOSED: "circuit.reset",
    State.FORCED_OPEN: "circuit.open",
    State.DISABLED: "circuit.disable",
}
MAX_WARM_PATHS: Final = 100
"""Paths warmed by one operation: as many requests as the default rate limit grants a caller per minute."""
MAX_REASON_LENGTH: Final = 500
WARM_CALLER: Final = "system:warm"
"""The caller id of warming requests that are made for no caller in particular."""


def reset_cache_statistics(actor: str) -> None:
    """Let hits and misses count from zero; cache entries stay."""
    usage = selectors.cache_usage()
    cluster_counts.reset_cache_counts()
    before = {"hits": usage.hits, "misses": usage.misses}
    record_operation(actor, "cache.reset", before=before, after={"hits": 0, "misses": 0})


def flush(actor: str, *, dry_run: bool = False) -> int:
    """Remove all cache entries, of services and of Django code, and return their number.

    With `dry_run` they are only counted. Raises StoreUnavailable.
    """
    names = sorted({*running().gateway.live.table.services, SERVICE})
    if dry_run:
        return sum(run_on_loop(running().cache.usage(name)).entries for name in names)
    before = _usage(names)
    deleted = run_on_loop(running().cache.invalidate_all(names))
    record_performed(actor, "cache.flush", before=before, after={"keysDeleted": deleted})
    return deleted


def invalidate(actor: str, service: str, tag: str | None = None, *, dry_run: bool = False) -> int:
    """Invalidate cache entries of a service, or of Django code, only those with `tag` if given. Returns their number.

    With `dry_run` they are only counted. Raises ServiceNotConfigured and StoreUnavailable.
    """
    if service != SERVICE:
        selectors.get_service(service)
    cache = running().cache
    if dry_run:
        return run_on_loop(cache.usage(service, tag)).entries
    before = _usage([service], tag)
    deleted = run_on_loop(cache.invalidate(service, None if tag is None else [tag]))
    after = {"keysDeleted": deleted} if tag is None else {"tag": tag[:MAX_REASON_LENGTH], "keysDeleted": deleted}
    record_performed(actor, "cache.invalidate", service, before=before, after=after)
    return deleted


def _usage(names: Sequence[str], tag: str | None = None) -> dict[str, int] | None:
    usage = run_on_loop(running().cache.usage_of(names, tag))
    return usage and usage._asdict()


def replay_delivery(actor: str, failed: FailedDelivery) -> bool:
    """Queue a failed delivery again, for the parts of its work that are not done. False if the queue has no room.

    Raises StoreUnavailable, and FailedDelivery.DoesNotExist if somebody else has replayed or dismissed it meanwhile.
    """
    delivery = decode(bytes(failed.data))
    # With another id, so that its event is not taken for one that was sent.
    again = msgspec.structs.replace(delivery, id=token_hex(16), tries=0, error="")
    with transaction.atomic():
        _take_delivery(failed)
        if run_on_loop(running().deliveries.queue.add(None, encode(again))) is not Added.QUEUED:
            transaction.set_rollback(True)
            return False
    _record_delivery(actor, "webhook.replay", failed, delivery.id)
    return True


def dismiss_delivery(actor: str, failed: FailedDelivery) -> None:
    """Delete a failed delivery: its work is not done any more. Raises as `replay_delivery` if it is gone."""
    _take_delivery(failed)
    _record_delivery(actor, "webhook.dismiss", failed, decode(bytes(failed.data)).id)


def _take_delivery(failed: FailedDelivery) -> None:
    """Delete the row: of several requests at once, one does."""
    if not FailedDelivery.objects.filter(pk=failed.pk).delete()[0]:
        raise FailedDelivery.DoesNotExist


def _record_delivery(actor: str, action: str, failed: FailedDelivery, identifier: str) -> None:
    before = {"webhook": failed.webhook, "delivery": identifier, "error": failed.error, "tries": failed.tries}
    record_operation(actor, action, before=before)


def renew_watches(actor: str, watches: Sequence[Watch]) -> int:
    """Let these watches be renewed by whichever worker looks next; returns how many there still are."""
    count = expedite(watches)
    running().watcher.wake()
    for watch in watches:
        after = {"webhook": watch.webhook, "account": watch.subject, "resource": watch.resource}
        record_operation(actor, "watch.renew", watch.service, after=after)
    return count


def reset_circuits(actor: str) -> list[str]:
    """Close all circuits that are not closed or have hold-offs, and return their services' names."""
    circuits = selectors.circuits()
    names = [circuit.service for circuit in circuits if circuit.state != State.CLOSED or circuit.hold_offs]
    for name in names:
        override_circuit(actor, name, State.CLOSED)
    if not names:
        record_performed(actor, OVERRIDE_ACTIONS[State.CLOSED], after={"reset": []})
    return names


def override_circuit(actor: str, service: str, state: State, ttl: float | None = None, reason: str = "") -> State:
    """Force a circuit to FORCED_OPEN or DISABLED, for `ttl` seconds or until the next call; CLOSED resets it, and lifts
    the service's hold-offs.

    Returns the new state. Raises ServiceNotConfigured.
    """
    policy = selectors.get_service(service).policy.breaker
    breaker = running().breakers.of(service, policy)
    until = None if ttl is None else running().flusher.now() + ttl
    before = _describe(breaker)
    run_on_loop(breaker.override(state, until, reason[:MAX_REASON_LENGTH]))
    after = _describe(breaker)
    if state is State.CLOSED and (lifted := run_on_loop(running().hold_offs.lift_all(service))):
        after["holdOffsLifted"] = lifted
    record_performed(actor, OVERRIDE_ACTIONS[state], service, before=before, after=after)
    return breaker.state()


def _describe(breaker: Breaker) -> dict[str, object]:
    snapshot = breaker.snapshot
    document: dict[str, object] = {"state": snapshot.state.value}
    if snapshot.until is not None:
        document["until"] = snapshot.until
    return document | ({"reason": snapshot.reason} if snapshot.reason else {})


def warm(
    actor: str,
    paths: Sequence[str] | None = None,
    *,
    address: str = LOCAL_ADDRESS,
    dry_run: bool = False,
    names: Names = None,
) -> WarmResult:
    """Fetch `paths` (`/api/v1/<service>/...`) into the cache; without paths, the most-hit responses of the last day.

    A path fails if its responses are not shared by all callers. It is fetched for clients that use `address`, a scheme
    and host. The most-hit responses, of the services `names`, are fetched again each as the caller they belong to. With
    `dry_run` they are only counted. Raises StoreUnavailable, and Forbidden for paths of other services.
    """
    if names is not None and not all(_is_of(path, names) for path in paths or ()):
        raise Forbidden("your account may not operate the service of one of the paths")
    if dry_run:
        return _count_warmable(paths, address, names)
    result = _warm_most_requested(names) if paths is None else _warm_paths(paths, address)
    record_performed(actor, "cache.warm", after={"warmed": result.warmed, "failed": result.failed})
    return result


def _is_of(path: str, names: frozenset[str]) -> bool:
    location = service_paths.split(path.encode())
    return location is not None and location.service in names


def _count_warmable(paths: Sequence[str] | None, address: str, names: Names) -> WarmResult:
    if paths is None:
        return WarmResult(warmed=0, failed=0, would_warm=len(_most_requested(names)))
    unique = _unique(paths)
    warmable = sum(_warming_request(path, address) is not None for path in unique)
    return WarmResult(warmed=0, failed=len(unique) - warmable, would_warm=warmable)


def _unique(paths: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(paths))[:MAX_WARM_PATHS]


def _warm_paths(paths: Sequence[str], address: str) -> WarmResult:
    unique = _unique(paths)
    run_on_loop(running().cache.usage(SERVICE))  # raises StoreUnavailable: nothing would be stored
    warmed = sum([run_on_loop(_fetch(path, address)) for path in unique])
    return WarmResult(warmed=warmed, failed=len(unique) - warmed)


def _warm_most_requested(names: Names) -> WarmResult:
    done = run_on_loop(running().warmer.warm(_most_requested(names)))
    return WarmResult(warmed=done.warmed, failed=done.failed)


def _most_requested(names: Names) -> list[ReplayableRequest]:
    services = selectors.service_names(names)
    per_service = max(1, MAX_WARM_PATHS // max(1, len(services)))
    return run_on_loop(running().warmer.most_requested(services, per_service))[:MAX_WARM_PATHS]


async def _fetch(path: str, address: str) -> bool:
    """Whether the response to `path` is now in the shared cache."""
    request = _warming_request(path, address)
    if request is None:
        return False
    response = await running().gateway.handle(request)
    try:
        await drain(response)
    except GatewayError:
        return False
    return is_stored(response)


def _warming_request(path: str, address: str) -> Request | None:
    """The request that caches `path` for all callers; None if its responses are not shared by all callers."""
    target, _, query = path.encode().partition(b"?")
    try:
        location = service_paths.split(target)
        if location is None:
            return None
        match = running().gateway.live.table.match(location.service, "GET", location.rest)
    except GatewayError:
        return None
    if match.policy.cache is None or match.policy.cache.scope is not Scope.SHARED:
        return None
    caller = msgspec.structs.replace(staff_caller("warm"), id=WARM_CALLER)
    scheme, _, host = address.partition("://")
    headers = [(b"host", host.encode()), (b"accept", b"*/*")]
    return Request("GET", target, query, headers, "127.0.0.1", scheme, caller=caller)
