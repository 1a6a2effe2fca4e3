"""Example values that several operations of the schema share."""

from typing import Any, Final

HITS: Final[dict[str, Any]] = {"hits": 945, "misses": 55, "hitRate": 94.5}
CIRCUITS: Final[dict[str, Any]] = {
    "stats": {
        "crmIntelligence": {"state": "CLOSED", "failures": 2, "successes": 940, "totalRequests": 942},
        "slackIntelligence": {
            "state": "OPEN",
            "failures": 5,
            "successes": 18,
            "totalRequests": 31,
            "nextAttemptTime": "2026-01-31T12:00:41.250Z",
            "holdOffs": [{"calls": "/users.list with one credential", "until": "2026-01-31T12:00:30.000Z"}],
        },
    },
    "openCount": 1,
}
PATHS: Final = ["/api/v1/crmIntelligence/contacts", "/api/v1/slackIntelligence/channels"]
OBJECTIVE: Final[dict[str, Any]] = {
    "name": "availability",
    "text": "99.9% availability",
    "target": 0.999,
    "days": 30,
    "total": 1_200_000,
    "bad": 310,
    "budgetUsed": 0.2583,
    "burnRates": {"5m": 0.0, "30m": 0.4, "1h": 0.3, "6h": 0.2, "3d": 0.3},
}
TARGET: Final[dict[str, Any]] = {
    "url": "https://crm.example.com",
    "condition": "ejected",
    "workers": "1 of 4",
    "weight": 1,
    "canary": 0.0,
    "alwaysUp": False,
    "text": "Ejected in 1 of 4 workers",
}
LATENCY: Final = {"p50": 1.048, "p95": 41.446, "p99": 104.762}
