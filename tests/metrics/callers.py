"""Usage of several callers, and what the configuration has of them."""

from metrics.usage.ledger import UsageLedger
from metrics.usage.record import UsageBatch, UsageCounts, UsageKey
from routing.models import ApiKey, Consumer, Plan, Team
from tests.metrics.events import NOW

TODAY = "2023-11-14"
"""The day of NOW."""
BEFORE = "2023-11-13"


def store_usage() -> None:
    """Of the consumer acme with two keys, a key without a consumer, an identity, and somebody anonymous."""
    acme = UsageKey(TODAY, "acme", team="sales", service="crm", route="/a", currency="EUR", api_key="aaaaaaaa")
    rows = [
        (
            acme,
            UsageCounts(requests=100, errors=9, cached=50, bytes_out=2_048, amount=2_000_000_000, refused=5, limited=4),
        ),
        (acme._replace(day=BEFORE, api_key="bbbbbbbb"), UsageCounts(requests=30, errors=1, amount=600_000_000)),
        (acme._replace(service="mail", route="", currency=""), UsageCounts(requests=7, bytes_in=10)),
        (
            UsageKey(TODAY, caller="key:cccccccc", service="crm", route="/a", api_key="cccccccc"),
            UsageCounts(requests=60, errors=60, refused=60, limited=1),
        ),
        (UsageKey(TODAY, caller="jwt+x:<b>&", service="mail"), UsageCounts(requests=3, backend_us=9_000_000)),
        (UsageKey(TODAY, service="crm", route="/a"), UsageCounts(requests=1, errors=1, refused=1)),
    ]
    UsageLedger().save([UsageBatch("usage", NOW, rows)])


def configure() -> Consumer:
    """acme of the team sales, with a plan and the keys of `store_usage`, of which the second is revoked."""
    plan = Plan.objects.create(name="pro", rate="100/m", quota=[{"amount": 10_000, "per": "day"}])
    team = Team.objects.create(name="sales", concurrency=5)
    acme = Consumer.objects.create(name="acme", plan=plan, team=team)
    for prefix, name in (("aaaaaaaa", "billing"), ("bbbbbbbb", "reports")):
        ApiKey.objects.create(name=name, prefix=prefix, digest=prefix, consumer=acme, scopes=["crm"])
    return acme
