"""Reads the revocations in force."""

from django.utils import timezone

from routing.authentication.revocations import Revocation as Record
from routing.models import Revocation


def revoked() -> tuple[Record, ...]:
    rows = Revocation.objects.filter(until__gt=timezone.now()).order_by("pk")
    columns = rows.values_list("issuer", "subject", "token_id", "until")
    return tuple(Record(issuer, subject, token, until.timestamp()) for issuer, subject, token, until in columns)
