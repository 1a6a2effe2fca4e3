"""Requests that ended, as a test wants them."""

import random
from typing import Any

from routing.observability.events import RequestFinished

NOW = 1_700_000_040.0
"""The fake clock's start, rounded up to a minute."""


def finished(**fields: Any) -> RequestFinished:
    usual: dict[str, Any] = {
        "at": NOW,
        "request_id": "r",
        "method": "GET",
        "path": "/api/v1/crm/x",
        "status": 200,
        "duration": 0.01,
        "service": "crm",
    }
    return RequestFinished(**{**usual, **fields})


def random_event(chance: random.Random) -> RequestFinished:
    """Any outcome there is: hits, misses, refusals, failures, services that do not exist, clients that left."""
    outcome: dict[str, Any] = chance.choice(
        [
            {"cache": "HIT"},
            {"cache": "MISS", "backend": 0.2},
            {"cache": "STALE", "call": "circuit_open", "circuit": "OPEN"},
            {"cache": "BYPASS", "backend": 0.03, "status": chance.choice([201, 404, 500, 503])},
            {"cache": "MISS", "status": 502, "code": "bad_gateway", "call": "bad_gateway", "retries": 1},
            {"cache": "MISS", "status": 503, "code": "circuit_open", "call": "circuit_open"},
            {"cache": "MISS", "backend": 0.1, "aborted": chance.choice(["client_gone", "upstream_timeout"])},
            {"status": 429, "code": "rate_limited"},
            {"status": 401, "code": "unauthenticated"},
            {"status": 404, "code": "unknown_service", "service": ""},
            {"status": 499, "aborted": "client_gone"},
        ]
    )
    usual = {
        "service": chance.choice(["crm", "mail", "billing"]),
        "route": chance.choice(["", "/x/{id}", "/a|b"]),
        "method": chance.choice(["GET", "POST", "HEAD", "BREW"]),
        "at": NOW + chance.uniform(0, 7_200),
        "duration": chance.lognormvariate(-4, 2),
        "bytes": chance.randrange(10_000),
    }
    return finished(**{**usual, **outcome})
