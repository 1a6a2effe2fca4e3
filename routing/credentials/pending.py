"""Links to connect an account, and authorizations that have begun: stored for a short time, each used once."""

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Final, NamedTuple

from django.db import models, transaction
from django.utils import timezone

from routing.models import PendingConnection

STATE_SECONDS: Final = 600
LINK_SECONDS: Final = 600
TOKEN_BYTES: Final = 32


class Owner(NamedTuple):
    """The caller for whom an account is connected to a service. `per` says whose account a link was made for, since not
    everybody who may connect their own may connect their tenant's; it is empty for a session.
    """

    service: str
    caller: str
    tenant: str = ""
    per: str = ""


class PendingAuthorization(NamedTuple):
    """An authorization that returns: whose it is, and the encrypted PKCE verifier."""

    owner: Owner
    verifier: str


def create_link(owner: Owner) -> str:
    """The token of a new link."""
    return _create(owner, LINK_SECONDS)


def begin(owner: Owner, browser: str, verifier: str) -> str:
    """The `state` of an authorization, for the browser that has this value in its cookie."""
    return _create(owner, STATE_SECONDS, browser=digest(browser), verifier=verifier)


def link_owner(service: str, token: str) -> Owner | None:
    """The owner that the link is for. Does not use the link up."""
    row = _rows(service, token).filter(verifier="").first()
    return None if row is None else _owner(row)


def use_link(service: str, token: str) -> Owner | None:
    """The same, once."""
    row = _take(service, token, is_link=True)
    return None if row is None else _owner(row)


def finish(service: str, state: str, browser: str) -> PendingAuthorization | None:
    """The authorization with this state, once, if this browser has begun it."""
    row = _take(service, state, is_link=False)
    if row is None or not browser or not secrets.compare_digest(row.browser, digest(browser)):
        return None
    return PendingAuthorization(_owner(row), row.verifier)


def digest(token: str) -> str:
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _create(owner: Owner, seconds: int, **fields: str) -> str:
    now, token = timezone.now(), secrets.token_urlsafe(TOKEN_BYTES)
    PendingConnection.objects.filter(expires_at__lt=now).delete()
    PendingConnection.objects.create(
        digest=digest(token), expires_at=now + timedelta(seconds=seconds), **owner._asdict(), **fields
    )
    return token


def _take(service: str, token: str, *, is_link: bool) -> PendingConnection | None:
    """The row, removed: of several requests with one token, one gets it."""
    with transaction.atomic():
        rows = _rows(service, token)
        row = (rows.filter(verifier="") if is_link else rows.exclude(verifier="")).first()
        deleted = PendingConnection.objects.filter(pk=row.pk).delete()[0] if row else 0
    return row if deleted else None


def _rows(service: str, token: str) -> models.QuerySet[PendingConnection]:
    return PendingConnection.objects.filter(service=service, digest=digest(token), expires_at__gt=timezone.now())


def _owner(row: PendingConnection) -> Owner:
    return Owner(row.service, row.caller, row.tenant, row.per)
