"""A configuration in the database and in the harness's gateway, and counts of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from metrics.models import Aggregate, TimeResolution
from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from routing.configuration.decode import decode
from routing.database.apply import apply_document
from routing.models import ConfigurationRevision
from tests.metrics.events import NOW
from tests.metrics.harness import Harness

DAY = 86_400
SERVICES: dict[str, Any] = {
    "crm": {
        "targets": [{"url": "http://127.0.0.1:9"}],
        "rate_limit": "5000/m",
        "routes": [
            {"path": "/channels", "cache": {"ttl": "5m"}},
            {"path": "/feed", "cache": {"ttl": "1m"}},
            {"path": "/old", "scopes": ["admin"]},
        ],
    },
}
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "services": SERVICES,
    "plans": {"pro": {"quota": [{"amount": 100_000, "per": "day"}, {"amount": 50, "per": "month"}]}},
    "consumers": {"acme": {"plan": "pro"}},
}


def configure(harness: Harness) -> None:
    """As it has been for two months."""
    apply_document(DOCUMENT)
    for service in decode({"version": 1, "services": SERVICES}, lambda _: ""):
        harness.add(service)
    routes = "    - path: /old\n    - path: /channels\n"
    text = f"version: 1\nservices:\n  crm:\n    routes:\n{routes}"
    ConfigurationRevision.objects.create(actor="a", summary="s", document=text)
    ConfigurationRevision.objects.update(created_at=datetime.fromtimestamp(NOW, UTC) - timedelta(days=60))


def count_days(fields: dict[str, int], days: int = 14, service: str = "crm") -> None:
    """The same counts on each of the last days, by route too, and in an hour of each."""
    today = int(NOW) // DAY * DAY
    for number in range(days):
        start = today - number * DAY
        for resolution in (TimeResolution.DAY, TimeResolution.ROUTES_DAY, TimeResolution.HOUR):
            Aggregate.objects.create(resolution=resolution, start=start, service=service, counts=fields)


def use(*days_ago: int, requests: int) -> None:
    """Requests of the consumer acme, metered on each of these days."""
    today = datetime.fromtimestamp(NOW, UTC).date()
    keys = [UsageKey((today - timedelta(days=number)).isoformat(), "acme", service="crm") for number in days_ago]
    UsageLedger().save([UsageBatch("acme", NOW, [(key, UsageCounts(requests=requests)) for key in keys])])
