"""Revokes tokens, and lists and lifts revocations. Blocking; each write is in the audit log."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from metrics.audit import record_operation
from routing.authentication.id_token import ISSUER as FIREBASE_ISSUER
from routing.authentication.issuer_policy import issuer_name
from routing.errors import BadRequest
from routing.models import Issuer, Revocation

DEFAULT: Final = timedelta(days=30)
LONGEST: Final = timedelta(days=366)
MAX_REVOCATIONS: Final = 10_000
MAX_SHOWN: Final = 5
"""The most issuers that an error names."""


def in_force() -> list[Revocation]:
    """The revocations in force, the latest first."""
    return list(Revocation.objects.filter(until__gt=timezone.now())[:MAX_REVOCATIONS])


def revoke(actor: str, *, issuer: str, subject: str, token_id: str, until: datetime | None, reason: str) -> Revocation:
    """Refuse a token, or all of a subject, until then, for a year at most. Raises BadRequest, also for what would have
    no effect.
    """
    now = timezone.now()
    check_issuer(issuer)
    check_subject(subject)
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


def check_issuer(issuer: str) -> None:
    """Raise BadRequest if there is no such issuer, whose tokens are refused in any case: it is mistyped."""
    known = _issuers()
    if issuer and issuer.removesuffix("/") not in {each.removesuffix("/") for each in known}:
        shown = f"those configured are {', '.join(known[:MAX_SHOWN])}" if known else "none is configured"
        raise BadRequest(f"no issuer {issuer} is configured: {shown}")


def check_subject(subject: str) -> None:
    """Raise BadRequest for what no token has as its subject: the id of a caller, as logs and backends have it, and a
    name with a line break or spaces around it, as it is pasted.
    """
    if subject.strip() != subject or not subject.isprintable():
        raise BadRequest("subject has spaces around it, or characters that are not printable: no token has")
    kind, _, name = subject.partition(":")
    if name and settings.CONFIG.firebase.project and (kind == "firebase" or kind.startswith("firebase+")):
        raise BadRequest(f"this is the id of a caller: its subject is {name}, a user of Firebase")
    for issuer in Issuer.objects.values_list("issuer", flat=True):
        own = f"jwt+{issuer_name(issuer)}"
        if name and (kind == own or kind.startswith(f"{own}+")):
            raise BadRequest(f"this is the id of a caller: its subject is {name}, and its issuer {issuer}")


def _issuers() -> list[str]:
    """The configured issuers, as tokens name them."""
    project = settings.CONFIG.firebase.project
    own = [f"{FIREBASE_ISSUER}{project}"] if project else []
    return [*own, *Issuer.objects.values_list("issuer", flat=True)]


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
