"""A consumer of the demonstration, which the demonstration's key belongs to: a plan on offer, and a member."""

import secrets
from typing import Final

from django.contrib.auth import get_user_model

from routing.database.members import invite, use_link
from routing.models import ApiKey, Consumer, Member, Plan

MEMBER: Final = "dev@acme.example"
CONSUMER: Final = "acme"
KEY: Final = "demonstration"
"""The name of the key that grants the consumer's services. A plan that is in use would have to be in every file that is
applied to the demonstration.
"""
PLAN: Final = "team"
SERVICES: Final = ("slackIntelligence", "crm", "gmailIntelligence", "calendarIntelligence")


def create_member() -> str | None:
    """Create all of it, and return the member's password; None where consumers have members already."""
    if Member.objects.exists() or get_user_model()._default_manager.filter(username=MEMBER).exists():
        return None
    consumer, _ = Consumer.objects.get_or_create(name=CONSUMER)
    for key in ApiKey.objects.filter(name=KEY, consumer=None, revoked_at=None):
        key.consumer = consumer
        key.save()
    if not Plan.objects.filter(name=PLAN).exists():
        quota = [{"amount": 50_000, "per": "day"}]
        Plan.objects.create(name=PLAN, rate="600/m", quota=quota, services=list(SERVICES), offered=True)
    password = secrets.token_urlsafe(9)
    _, link = invite(consumer, MEMBER, Member.Role.MANAGER)
    use_link(link, password=password)
    return password
