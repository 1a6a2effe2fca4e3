"""Rows that name a service, which is why it cannot be deleted."""

from collections.abc import Iterable

from routing.configuration import fallbacks, webhooks
from routing.configuration.named_services import named_services
from routing.models import AlertRule, Issuer, Plan, Service, Webhook


def references(services: Iterable[Service]) -> list[str]:
    """What names one of these services: other services, as their fallback, plans, webhooks and alerts."""
    names = {service.name for service in services}
    found = []
    for other in Service.objects.exclude(name__in=names).prefetch_related("routes"):
        common = names & fallbacks.named(other.with_routes())
        found += [f"service {other.name}: falls back to {name}" for name in sorted(common)]
    for plan in Plan.objects.exclude(services=None):
        common = names & {access if isinstance(access, str) else next(iter(access)) for access in plan.services or ()}
        found += [f"plan {plan.name}: includes {name}" for name in sorted(common)]
    for webhook in Webhook.objects.all():
        common = names & webhooks.named_services(webhook.settings)
        found += [f"webhook {webhook.name}: is for {name}" for name in sorted(common)]
    for issuer in Issuer.objects.all():
        found += [
            f"issuer {issuer.issuer}: is for {name}"
            for name in sorted(names.intersection(named_services(issuer.settings)))
        ]
    for alert in AlertRule.objects.all():
        common = names.intersection(named_services(alert.settings))
        found += [f"alert {alert.name}: is about {name}" for name in sorted(common)]
    return found
