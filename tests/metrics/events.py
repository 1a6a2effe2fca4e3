"""Events of finished requests for tests."""

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


def random_event(rng: random.Random) -> RequestFinished:
    """A request with a random outcome: hit, miss, refusal, failure, unknown service or disconnected client."""
    outcome: dict[str, Any] = rng.choice(
        [
            {"cache": "HIT"},
            {"cache": "MISS", "backend": 0.2},
            {"cache": "STALE", "call": "circuit_open", "circuit": "OPEN"},
            {"cache": "BYPASS", "backend": 0.03, "status": rng.choice([201, 404, 500, 503])},
            {"cache": "MISS", "status": 502, "code": "bad_gateway", "call": "bad_gateway", "retries": 1},
            {"cache": "MISS", "status": 503, "code": "circuit_open", "call": "circuit_open"},
            {"cache": "MISS", "backend": 0.1, "aborted": rng.choice(["client_gone", "upstream_timeout"])},
            {"status": 429, "code": "rate_limited"},
            {"status": 401, "code": "unauthenticated"},
            {"status": 404, "code": "unknown_service", "service": ""},
            {"status": 499, "aborted": "client_gone"},
        ]
    )
    usual = {
        "service": rng.choice(["crm", "mail", "billing"]),
        "route": rng.choice(["", "/x/{id}", "/a|b"]),
        "method": rng.choice(["GET", "POST", "HEAD", "BREW"]),
        "at": NOW + rng.uniform(0, 7_200),
        "duration": rng.lognormvariate(-4, 2),
        "bytes": rng.randrange(10_000),
    }
    return finished(**{**usual, **outcome})
