"""The state of services' credentials at their backends, and dropping their tokens. For Django's threads: it blocks."""

from datetime import datetime
from typing import Any, Final

from django.db.models import F
from django.utils import timezone

from metrics import selectors
from metrics.audit import record_operation
from metrics.runtime_access import run_on_loop, running
from routing.credentials.connections import policies_of
from routing.credentials.grants import Subject
from routing.models import BackendCredential
from routing.rights import Names

MAX_LISTED: Final = 1_000


def credential_state(row: BackendCredential, now: datetime) -> str:
    """`fresh`, `expired` (until the next request refreshes it) or `failed`."""
    if row.failure:
        return "failed"
    return "fresh" if row.fresh_until is not None and row.fresh_until > now else "expired"


def credential_states(services: Names = None) -> list[dict[str, Any]]:
    """The credentials of these services that have been used: failed ones first, then by their last change."""
    now, used = timezone.now(), BackendCredential.objects.all()
    rows = (
        (used if services is None else used.filter(service__in=services))
        .defer("refresh_token")
        .order_by(F("failure").desc(), F("updated_at").desc(nulls_last=True), "pk")
    )
    names = ("service", "subject", "fresh_until", "failure", "account", "updated_at")
    return [
        {**{name: getattr(row, name) for name in names}, "state": credential_state(row, now)}
        for row in rows[:MAX_LISTED]
    ]


def forget(actor: str, service: str, subject: str) -> None:
    """Drop an access token, and what failed, in all workers. A connected account stays connected.

    Raises ServiceNotConfigured, and StoreUnavailable if only this worker has forgotten it.
    """
    for policy in policies_of(selectors.get_service(service)):
        run_on_loop(running().credentials.forget(service, policy, Subject(subject)))
    record_operation(actor, "credential.forget", service, after={"credential": subject})
