"""Revokes tokens, and lists and lifts revocations. Blocking; each write is in the audit log."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from metrics.audit import record_operation
from routing.errors import BadRequest
from routing.models import Revocation

DEFAULT: Final = timedelta(days=30)
LONGEST: Final = timedelta(days=366)
MAX_REVOCATIONS: Final = 10_000


def listed() -> list[Revocation]:
    """Those in force, the latest first."""
    return list(Revocation.objects.filter(until__gt=timezone.now())[:MAX_REVOCATIONS])


def revoke(actor: str, *, issuer: str, subject: str, token_id: str, until: datetime | None, reason: str) -> Revocation:
    """Refuse a token, or all of a subject, until then, for a year at most. Raises BadRequest."""
    now = timezone.now()
    if until is not None and until <= now:
        raise BadRequest("until must be in the future")
    end = min(until or now + DEFAULT, now + LONGEST)
    if bool(subject) == bool(token_id):
        raise BadRequest("send either jti or subject")
    with transaction.atomic():
        Revocation.objects.filter(until__lte=now).delete()
        if Revocation.objects.count() >= MAX_REVOCATIONS:
            raise BadRequest(f"there are {MAX_REVOCATIONS} revocations already")
        row = Revocation.objects.create(
            issuer=issuer, subject=subject, token_id=token_id, until=end, reason=reason, actor=actor[:200]
        )
        record_operation(actor, "token.revoke", after=_document(row))
    return row


def lift(actor: str, number: int) -> bool:
    """End a revocation; return whether there was one."""
    row = Revocation.objects.filter(pk=number).first()
    if row is None:
        return False
    with transaction.atomic():
        record_operation(actor, "token.restore", before=_document(row))
        row.delete()
    return True


def _document(row: Revocation) -> dict[str, Any]:
    found = {"issuer": row.issuer, "subject": row.subject, "jti": row.token_id, "until": row.until.isoformat()}
    return {name: value for name, value in found.items() if value} | ({"reason": row.reason} if row.reason else {})
