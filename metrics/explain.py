"""Explains what the gateway would do with a request, using this process's routes and circuits. Nothing is sent."""

import re
from typing import Any, Final

import msgspec
from django.conf import settings

from metrics import selectors
from metrics.explained_caller import HypotheticalCaller, find_caller
from metrics.runtime_access import running
from metrics.targets.status import describe
from resilience.breaker.machine import Snapshot
from routing.authentication.key_fields import with_api_key
from routing.caller import EVERY_SERVICE
from routing.errors import Forbidden
from routing.explain.explainer import Explainer
from routing.explain.explanation import Explanation
from routing.http import Request
from routing.networks import parse_address
from routing.rights import Names
from routing.router.table import Service

CLIENT_ADDRESS: Final = "192.0.2.1"
"""The client address of an explained request: reserved for documentation (RFC 5737)."""
_METHOD: Final = re.compile(r"[A-Z][A-Z-]*")
DEFAULT_HOST: Final = b"gateway"
"""The Host of an explained request that has none; no service has this host name."""


class ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` may have a query. `caller` is None (no credential), `key:<prefix>`, `firebase:<uid>`,
    `firebase+<tenant>:<uid>`, `jwt+<issuer>:<subject>`, `jwt+<issuer>+<tenant>:<subject>`,
    `certificate+<consumer>:<name>`, `signature+<consumer>:<key id>`, or hypothetical. `ip` is the client's address;
    without one, lists of addresses are not applied.
    """

    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    caller: str | HypotheticalCaller | None = None
    ip: str | None = None


def explain(question: ExplainRequest, names: Names = None) -> Explanation:
    """Raises ValueError if the request or its caller is invalid, and Forbidden if it is for none of these services."""
    circuits = {breaker.name: breaker.snapshot for breaker in running().breakers}
    explainer = Explainer(
        running().gateway.live.table,
        rate=settings.CONFIG.rate_limit,
        circuits=lambda name: circuits.get(name, Snapshot()),
        now=running().flusher.now(),
        held=_held,
        wait=running().limits.expected_wait,
        conditions=_conditions,
    )
    request = _request(question)
    caller, refusal = find_caller(question.caller, request.method, question.ip or None)
    found = explainer.explain(request, caller, has_address=bool(question.ip), refusal=refusal)
    return found if names is None else _limited(found, names)


def _limited(found: Explanation, names: frozenset[str]) -> Explanation:
    """Without the scopes of the caller that are about other services. Raises Forbidden."""
    if found.service is None or found.service["name"] not in names:
        raise Forbidden("your account may not view the service of this request")
    if found.access is None or found.access["has"] is None:
        return found
    relevant = {*names, *found.access["needs"], EVERY_SERVICE}
    has = [scope for scope in found.access["has"] if scope in relevant]
    return msgspec.structs.replace(found, access={**found.access, "has": has})


def _held(service: str) -> list[tuple[str, float]]:
    found = running().hold_offs.all()
    return [(str(partition), item.until) for partition, item in found.items() if partition.service == service]


def _conditions(service: Service) -> dict[str, dict[str, Any]]:
    """The condition of the service's targets, as all workers see them."""
    return {target.url: describe(target) for target in selectors.target_conditions().of(service)}


def _request(question: ExplainRequest) -> Request:
    method = question.method.upper()
    if not _METHOD.fullmatch(method):
        raise ValueError("method must consist of letters and hyphens, such as GET")
    path, _, query = question.path.partition("?")
    if not path.startswith("/"):
        raise ValueError("path must begin with a slash")
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in question.headers.items()]
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", DEFAULT_HOST))
    if question.ip and parse_address(question.ip) is None:
        raise ValueError("ip must be an address such as 192.0.2.1 or 2001:db8::1")
    return Request(method, path.encode(), query.encode(), with_api_key(headers), question.ip or CLIENT_ADDRESS)
