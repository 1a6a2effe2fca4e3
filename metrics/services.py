"""Writes: blocking, for Django's threads. Each is on record with who did it before it answers."""

from collections.abc import Sequence

from metrics.models import Operation
from metrics.readings import Warmed
from resilience.breaker.machine import State


def record(
    actor: str, action: str, service: str = "", *, before: object = None, after: object = None, request_id: str = ""
) -> Operation:
    """Write down that `actor` did `action`. `before` and `after` are what JSON can hold."""
    raise NotImplementedError


def reset_cache_statistics(actor: str, *, request_id: str = "") -> None:
    """Hits and misses count from zero again; what is cached stays."""
    raise NotImplementedError


def flush(actor: str, *, request_id: str = "") -> int:
    """Empty the cache; how many entries went. Raises StoreUnavailable."""
    raise NotImplementedError


def invalidate(actor: str, service: str, tag: str | None = None, *, dry_run: bool = False, request_id: str = "") -> int:
    """Take back a service's entries, those with `tag` or all; how many went, or with `dry_run` would go.

    Raises UnknownService, StoreUnavailable.
    """
    raise NotImplementedError


def reset_circuits(actor: str, *, request_id: str = "") -> list[str]:
    """Close every circuit that is not; their names."""
    raise NotImplementedError


def order_circuit(
    actor: str, service: str, state: State, ttl: float | None = None, reason: str = "", *, request_id: str = ""
) -> State:
    """Move a circuit to CLOSED (reset), FORCED_OPEN or DISABLED, for `ttl` seconds or until the next order.

    Raises UnknownService.
    """
    raise NotImplementedError


def warm(actor: str, paths: Sequence[str] = (), *, request_id: str = "") -> Warmed:
    """Fetch `paths` (`/api/v1/<service>/...`), or where none are given the most-hit ones, so that they are cached."""
    raise NotImplementedError
