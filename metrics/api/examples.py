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
LATENCY: Final = {"p50": 1.048, "p95": 41.446, "p99": 104.762}
