"""Explain, as people ask it: their words to a request and a caller, and this process's table and circuits to rules."""

from typing import Final

import msgspec
from django.conf import settings

from metrics.runtime_access import running
from resilience.breaker.machine import Snapshot
from routing.caller import Caller
from routing.database.loader import key_records
from routing.explain.explainer import Explainer
from routing.explain.explanation import Explanation
from routing.http import Request

CLIENT: Final = "192.0.2.1"
"""The address a request is explained for: one that is nobody's (RFC 5737)."""
HOST: Final = b"gateway"
"""The host a request is explained for where it names none: no service's own."""


class HypotheticalCaller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A caller as one might be; `scopes` None is a Firebase caller without that claim."""

    id: str
    scopes: frozenset[str] | None = None
    tenant: str | None = None


class ExplainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` may bear a query. `caller` is None (no credential), `key:<prefix>`, `firebase:<uid>`, or one spelt out."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    caller: str | HypotheticalCaller | None = None


def explain(question: ExplainRequest) -> Explanation:
    """What would become of it now. Raises ValueError for what is no request or no caller."""
    circuits = {breaker.name: breaker.snapshot for breaker in running().breakers}
    explainer = Explainer(
        running().gateway.live.table,
        rate=settings.CONFIG.rate_limit,
        circuits=lambda name: circuits.get(name, Snapshot()),
        now=running().flusher.now(),
    )
    return explainer.explain(_request(question), _caller(question.caller))


def _request(question: ExplainRequest) -> Request:
    method = question.method.strip().upper()
    if not method.isascii() or not method.isalpha():
        raise ValueError("method must be a word such as GET")
    path, _, query = question.path.strip().partition("?")
    if not path.startswith("/"):
        raise ValueError("path must begin with a slash")
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in question.headers.items()]
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", HOST))
    return Request(method, path.encode(), query.encode(), headers, CLIENT)


def _caller(asked: str | HypotheticalCaller | None) -> Caller | None:
    if not asked:
        return None
    if isinstance(asked, HypotheticalCaller):
        return Caller(asked.id, asked.tenant, asked.scopes)
    kind, _, name = asked.partition(":")
    if kind == "firebase" and name:
        return Caller(asked)
    prefix = name.removeprefix("gw_")
    found = [record for record in key_records() if kind == "key" and record.prefix == prefix]
    if not found:
        raise ValueError(f"{asked!r} is no key in force; write key:<prefix> or firebase:<uid>")
    return found[0].caller()
