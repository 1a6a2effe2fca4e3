"""Explains what the gateway would do with a request, using this process's routes and circuits. Nothing is sent."""

from typing import Final
from urllib.parse import unquote

import msgspec
from django.conf import settings

from metrics.runtime_access import running
from resilience.breaker.machine import Snapshot
from routing.caller import Caller, firebase_id
from routing.database.loader import key_records
from routing.explain.explainer import Explainer
from routing.explain.explanation import Explanation
from routing.http import Request

CLIENT_ADDRESS: Final = "192.0.2.1"
"""The client address of an explained request: reserved for documentation (RFC 5737)."""
DEFAULT_HOST: Final = b"gateway"
"""The Host of an explained request that has none; no service has this host name."""


class HypotheticalCaller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes` None is a Firebase caller whose token has no scopes claim."""

    id: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None


class ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` may have a query. `caller` is None (no credential), `key:<prefix>`, `firebase:<uid>`,
    `firebase+<tenant>:<uid>`, or hypothetical.
    """

    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    caller: str | HypotheticalCaller | None = None


def explain(question: ExplainRequest) -> Explanation:
    """Raises ValueError if the request or its caller is invalid."""
    circuits = {breaker.name: breaker.snapshot for breaker in running().breakers}
    explainer = Explainer(
        running().gateway.live.table,
        rate=settings.CONFIG.rate_limit,
        circuits=lambda name: circuits.get(name, Snapshot()),
        now=running().flusher.now(),
    )
    return explainer.explain(_request(question), _caller(question.caller))


def _request(question: ExplainRequest) -> Request:
    method = question.method.upper()
    if not method.isascii() or not method.isalpha():
        raise ValueError("method must consist of letters, such as GET")
    path, _, query = question.path.partition("?")
    if not path.startswith("/"):
        raise ValueError("path must begin with a slash")
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in question.headers.items()]
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", DEFAULT_HOST))
    return Request(method, path.encode(), query.encode(), headers, CLIENT_ADDRESS)


def _caller(caller: str | HypotheticalCaller | None) -> Caller | None:
    if not caller:
        return None
    if isinstance(caller, HypotheticalCaller):
        kind, _, uid = caller.id.partition(":")
        identity = firebase_id(uid, caller.tenant) if kind == "firebase" else caller.id
        return Caller(identity, caller.tenant, caller.scopes)
    kind, _, name = caller.partition(":")
    if kind == "firebase" and name:
        return Caller(caller)
    if kind.startswith("firebase+") and name:
        return Caller(caller, unquote(kind.removeprefix("firebase+")))
    prefix = name.removeprefix("gw_")
    records = [record for record in key_records() if kind == "key" and record.prefix == prefix]
    if not records:
        raise ValueError(f"{caller!r} is not an active API key; use key:<prefix> or firebase:<uid>")
    return records[0].caller()
