"""Is it alive, is it ready, and how is everything it stands on."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from routing.http import Headers, Response

MEMORY_SECONDS: Final = 5.0
"""How long a deep answer is given again without asking anew, so that watching costs nothing under load."""
CHECK_SECONDS: Final = 2.0
"""Longest one check may take before it counts as down."""

_HEADERS: Final[Headers] = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class Health(StrEnum):
    """DEGRADED works without something; OFF was not asked for; DOWN does not work."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    OFF = "off"


Check = Callable[[], Awaitable[Health]]


class Checked(msgspec.Struct, frozen=True):
    """One check's verdict, and the milliseconds it took."""

    status: Health
    ms: float


class HealthPages:
    """`checks` names every part to ask, anew each time, since services come and go."""

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
        self._asking: asyncio.Task[Response] | None = None
        self._asked = -MEMORY_SECONDS

    async def answer(self, path: str) -> Response | None:
        """The page at `path`, or None when there is none."""
        match path.rstrip("/"):
            case "/health":
                return _page(Health.OK, {"status": Health.OK})
            case "/health/ready":
                status = Health.OK if self._ready() else Health.DOWN
                return _page(status, {"status": status})
            case "/health/deep":
                return await self._deep()
        return None

    async def _deep(self) -> Response:
        """Askers who come together share one round of checks, also when one of them leaves."""
        if self._asking is None or (self._asking.done() and self._timer() - self._asked >= MEMORY_SECONDS):
            self._asked = self._timer()
            self._asking = asyncio.create_task(self._ask())
        known = await asyncio.shield(self._asking)
        return Response(known.status, list(known.headers), known.body)

    async def _ask(self) -> Response:
        checks = self._checks()
        verdicts = await asyncio.gather(*(self._timed(check) for check in checks.values()))
        found = dict(zip(checks, verdicts, strict=True))
        status = worst(checked.status for checked in verdicts)
        return _page(status, {"status": status, "checks": found})

    async def _timed(self, check: Check) -> Checked:
        started = self._timer()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                status = await check()
        except Exception:  # noqa: BLE001 - whatever a part fails with, it is down, and says no more to the outside
            status = Health.DOWN
        return Checked(status, round((self._timer() - started) * 1000, 2))


def worst(statuses: Iterable[Health]) -> Health:
    """DOWN before DEGRADED before OK; OFF counts for nothing."""
    found = set(statuses)
    for status in (Health.DOWN, Health.DEGRADED):
        if status in found:
            return status
    return Health.OK


def _page(status: Health, document: object) -> Response:
    code = 503 if status is Health.DOWN else 200
    return Response(code, list(_HEADERS), msgspec.json.encode(document))
