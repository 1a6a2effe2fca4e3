"""Calls to a service's targets that an operator makes, regardless of its circuit. For Django's threads: it blocks."""

import asyncio
import time
from typing import Any, Final

import msgspec

from metrics import selectors
from metrics.audit import record_performed
from metrics.runtime_access import run_on_loop, running
from routing.backend.client import Call
from routing.errors import CallFailed, GatewayError
from routing.router.policy import Target, Timeout
from routing.router.table import Service

ACTION: Final = "target.probe"
DEFAULT_PATH: Final = "/"
"""What is requested of a service without a health check."""
MAX_TARGETS: Final = 10
SECONDS: Final = 5.0


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is None if there was no response: `reason` says why."""

    target: str
    path: str
    status: int | None
    seconds: float
    reason: str = ""


def probe(actor: str, service: str) -> list[ProbeResult]:
    """Call each enabled target once, and record it. The result changes no circuit. Raises ServiceNotConfigured."""
    found = selectors.get_service(service)
    targets = [target for target in found.targets if target.weight][:MAX_TARGETS]
    results: list[ProbeResult] = run_on_loop(_probe_all(found, targets))
    after: list[dict[str, Any]] = [
        {"target": result.target, "status": result.status, **({"reason": result.reason} if result.reason else {})}
        for result in results
    ]
    record_performed(actor, ACTION, service, after={"targets": after})
    return results


async def _probe_all(service: Service, targets: list[Target]) -> list[ProbeResult]:
    return list(await asyncio.gather(*(_probe(service, target) for target in targets)))


async def _probe(service: Service, target: Target) -> ProbeResult:
    """Redirects are not followed, and nothing of the response but its status is used."""
    health = service.policy.health
    path = health.path if health is not None else DEFAULT_PATH
    headers = [(b"user-agent", b"gateway-probe"), *service.policy.headers]
    timeout = Timeout(connect=SECONDS, read=SECONDS, total=SECONDS)
    status, reason, start = None, "", time.perf_counter()
    try:
        response = await running().backend.send(target, Call("GET", path.encode(), headers, None), timeout)
        status = response.status
        await response.aclose()
    except GatewayError as error:
        reason = error.reason if isinstance(error, CallFailed) else error.code
    return ProbeResult(target=target.url, path=path, status=status, seconds=time.perf_counter() - start, reason=reason)
