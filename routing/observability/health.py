"""Health pages: liveness, readiness, and a deep check of every dependency."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from routing.http import Headers, Response

DEEP_CACHE_SECONDS: Final = 5.0
"""How long a deep response is cached, so that monitoring costs nothing under load."""
CHECK_SECONDS: Final = 2.0
"""Timeout of one check; after it the check counts as DOWN."""

_HEADERS: Final[Headers] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class Health(StrEnum):
    """DEGRADED works with reduced function, OFF is not configured or disabled, DOWN does not work."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    OFF = "off"


class Unhealthy(Exception):
    """Raised by a check that can say why: `reason` is shown to clients."""

    def __init__(self, status: Health, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class TargetsHealth(msgspec.Struct, frozen=True):
    """The health of a service's targets: how many are in each condition, and why it is not OK. No addresses."""

    status: Health
    targets: dict[str, int]
    reason: str | None = None


Check = Callable[[], Awaitable[Health | TargetsHealth]]


class CheckResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The status a check returned, its duration in milliseconds, and its reason and targets if it has them."""

    status: Health
    ms: float
    reason: str | None = None
    targets: dict[str, int] | None = None


class HealthPages:
    """`checks` returns the checks by name; it is called for each round, since services are added and removed."""

    def __init__(
        self,
        checks: Callable[[], Mapping[str, Check]],
        ready: Callable[[], bool],
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._ready = ready
        self._timer = timer
        self._round: asyncio.Task[Response] | None = None
        self._round_started = -DEEP_CACHE_SECONDS
        self._draining = False

    def begin_drain(self) -> None:
        """Report from now on that the process is not ready: the server stops soon."""
        self._draining = True

    async def response(self, path: str) -> Response | None:
        """The response for `path`, or None if it is not a health page."""
        match path.rstrip("/"):
            case "/health":
                return _page(Health.OK, {"status": Health.OK})
            case "/health/ready":
                status = Health.OK if self._ready() and not self._draining else Health.DOWN
                return _page(status, {"status": status})
            case "/health/deep":
                return await self._deep()
        return None

    async def _deep(self) -> Response:
        """Concurrent requests share one round of checks; a client that disconnects does not cancel it."""
        if self._round is None or (self._round.done() and self._timer() - self._round_started >= DEEP_CACHE_SECONDS):
            self._round_started = self._timer()
            self._round = asyncio.create_task(self._run_checks())
        shared = await asyncio.shield(self._round)
        return Response(shared.status, list(shared.headers), shared.body)

    async def _run_checks(self) -> Response:
        checks = self._checks()
        results = await asyncio.gather(*(self._run_check(check) for check in checks.values()))
        status = worst(result.status for result in results)
        return _page(status, {"status": status, "checks": dict(zip(checks, results, strict=True))})

    async def _run_check(self, check: Check) -> CheckResult:
        started, reason, targets = self._timer(), None, None
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                found = await check()
            if isinstance(found, TargetsHealth):
                status, reason, targets = found.status, found.reason, found.targets
            else:
                status = found
        except Unhealthy as error:
            status, reason = error.status, error.reason
        except Exception:  # noqa: BLE001 - any other failure means DOWN; its reason is not shown to clients
            status = Health.DOWN
        return CheckResult(status, round((self._timer() - started) * 1000, 2), reason, targets)


def worst(statuses: Iterable[Health]) -> Health:
    """The worst status in the order DOWN, DEGRADED, OK; OFF is ignored."""
    found = set(statuses)
    for status in (Health.DOWN, Health.DEGRADED):
        if status in found:
            return status
    return Health.OK


def _page(status: Health, document: object) -> Response:
    code = 503 if status is Health.DOWN else 200
    body = msgspec.json.encode(document)
    return Response(code, [*_HEADERS, (b"content-length", b"%d" % len(body))], body)
