"""Reads: blocking, for Django's threads. Numbers are the whole cluster's, and include what this worker has just counted."""

from collections.abc import Sequence

from metrics.models import Operation
from metrics.readings import CacheUsage, Circuit, Point, ServiceReading, Summary


class UnknownService(LookupError):
    """No service of this name is configured."""


def summary() -> Summary:
    """What matters now, over all services and the requests that reached none."""
    raise NotImplementedError


def services() -> list[ServiceReading]:
    """Every configured service, by name."""
    raise NotImplementedError


def service(name: str) -> ServiceReading:
    """One service. Raises UnknownService."""
    raise NotImplementedError


def history(service: str | None, start: float, end: float, step: int) -> list[Point]:
    """From `start` to `end` (Unix seconds) in steps of `step` seconds; `service` None is all of them together.

    Steps without a request are there, with zeros. Raises UnknownService, and ValueError for too many steps.
    """
    raise NotImplementedError


def circuits() -> list[Circuit]:
    """Every service's circuit, by name, as this worker's mirror knows it: the cluster's state, a moment old at most."""
    raise NotImplementedError


def cache_usage() -> CacheUsage:
    """What the cache holds, and hits and misses since the statistics were last reset."""
    raise NotImplementedError


def operations(limit: int = 100, service: str | None = None) -> Sequence[Operation]:
    """The latest operations, newest first."""
    raise NotImplementedError
