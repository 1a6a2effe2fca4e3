"""A consumer's API keys: created, rotated, changed and revoked by its members. A secret is in one response only."""

import secrets
from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from metrics.portal.access import MEMBER_PREFIX, MemberRequest, member_page
from metrics.portal.allowed import Allowed, allowed_of, may_rotate
from metrics.portal.catalogue import catalogue, entry
from metrics.portal.forms import KeyForm, RevokeForm, RotateForm, ServicesForm
from metrics.request_rates import exceeds
from metrics.runtime_access import running
from routing.database.api_keys import issue, revoke, rotate
from routing.database.openapi import openapi_of
from routing.models import ApiKey, Consumer

CREATION_RATE: Final = "30/h"
"""Secrets that the members of one consumer may create."""
FORM_IDS: Final = "portal_forms"
"""The session's item with the forms that have created a key, since a page with a secret is reloaded by sending its form
again.
"""
MAX_FORM_IDS: Final = 20
KEY_ORDER: Final = (F("revoked_at").asc(nulls_first=True), "-created_at")
"""Active keys first, which PostgreSQL sorts last."""


@member_page
@require_http_methods(["GET", "HEAD", "POST"])
def keys_page(request: MemberRequest) -> HttpResponse:
    """The list, and a form for another key, which responds with its secret."""
    consumer = request.member.consumer
    allowed = allowed_of(consumer)
    form = KeyForm(allowed.services, request.POST or None, initial={"services": list(allowed.services)})
    if request.method == "POST":
        response = _create(request, allowed, form)
        if response is not None:
            return response
    now = timezone.now()
    context = {
        "page": "keys",
        "keys": [_row(key, now) for key in consumer.keys.order_by(*KEY_ORDER)[:200]],
        "active": active_keys(consumer).count(),
        "max_keys": settings.CONFIG.portal.max_keys,
        "form": form,
        "form_id": secrets.token_urlsafe(9),
        "services": allowed.services,
    }
    return render(request, "portal/keys.html", context)


@member_page
@require_safe
def key_page(request: MemberRequest, prefix: str) -> HttpResponse:
    return _key_page(request, _key(request, prefix))


@member_page
@require_POST
def rotate_key(request: MemberRequest, prefix: str) -> HttpResponse:
    key, form = _key(request, prefix), RotateForm(request.POST)
    if not may_rotate(key) or not form.is_valid():
        return _key_page(request, key)
    if _is_repeated(request) or _too_many(request):
        return redirect("portal:key", prefix)
    try:
        secret = rotate(key, form.duration)
    except ValueError as fault:
        messages.error(request, _("The key was not rotated: %(reason)s.") % {"reason": fault})
        return redirect("portal:key", prefix)
    ends = key.retired.latest("pk").valid_until if form.duration else None
    return _secret_page(request, key, secret, {"old_ends": ends, "is_rotated": True})


@member_page
@require_POST
def change_services(request: MemberRequest, prefix: str) -> HttpResponse:
    """Let the key call other services of the plan."""
    key, allowed = _key(request, prefix), allowed_of(request.member.consumer)
    form = ServicesForm(allowed.services, request.POST)
    if not _is_own(key) or not form.is_valid():
        return _key_page(request, key, services_form=form)
    key.scopes = allowed.key_scopes(form.cleaned_data["services"], running().gateway.live.table.services)
    key.save(update_fields=["scopes"])
    messages.success(request, _("The key %(name)s has been changed.") % {"name": key.name})
    return redirect("portal:key", prefix)


@member_page
@require_POST
def revoke_key(request: MemberRequest, prefix: str) -> HttpResponse:
    key, form = _key(request, prefix), RevokeForm(request.POST)
    if not may_rotate(key) or not form.is_valid():
        return _key_page(request, key, revoke_form=form)
    revoke([key])
    messages.success(request, _("The key %(name)s has been revoked.") % {"name": key.name})
    return redirect("portal:keys")


def active_keys(consumer: Consumer) -> QuerySet[ApiKey]:
    """The consumer's keys that are accepted now, created by members or by staff."""
    ends = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    return consumer.keys.filter(ends, revoked_at=None)


def _create(request: MemberRequest, allowed: Allowed, form: KeyForm) -> HttpResponse | None:
    """The page with the new key; None if the form has faults."""
    if not form.is_valid():
        return None
    if _is_repeated(request) or _too_many(request):
        return redirect("portal:keys")
    consumer, table, now = request.member.consumer, running().gateway.live.table.services, timezone.now()
    lifetime = form.lifetime
    key = ApiKey(
        name=form.cleaned_data["name"],
        owner=request.member.email,
        consumer=consumer,
        scopes=allowed.key_scopes(form.cleaned_data["services"], table),
        tenant=allowed.tenant,
        environment=form.cleaned_data["environment"],
        expires_at=now + lifetime if lifetime else None,
    )
    try:
        secret = _issue(consumer, key)
    except ValidationError as error:
        form.add_error(None, error.messages)
        return None
    if secret is None:
        form.add_error(None, _("You have as many active keys as you may. Revoke one that is no longer used."))
        return None
    return _secret_page(request, key, secret, {})


def _issue(consumer: Consumer, key: ApiKey) -> str | None:
    """None if the consumer has as many keys as it may have. Requests at the same time wait for each other."""
    with transaction.atomic():
        row = Consumer.objects.select_for_update().get(pk=consumer.pk)
        return issue(key) if active_keys(row).count() < settings.CONFIG.portal.max_keys else None


def _secret_page(request: MemberRequest, key: ApiKey, secret: str, context: dict[str, Any]) -> HttpResponse:
    """The only response with the secret. No store and no session has it."""
    allowed, table = allowed_of(request.member.consumer), running().gateway.live.table.services
    services = [each for each in catalogue(allowed, table, {}) if each.name in (key.scopes or ())]
    usable = next((each.name for each in services if each.is_enabled and not each.missing), None)
    first = entry(table[usable], allowed, openapi_of(usable)) if usable else None
    own = {"page": "keys", "key": key, "secret": secret, "service": first, "services": services}
    return render(request, "portal/secret.html", own | context)


def _key_page(request: MemberRequest, key: ApiKey, **forms: Any) -> HttpResponse:
    allowed, now = allowed_of(request.member.consumer), timezone.now()
    chosen = [name for name in allowed.services if name in (key.scopes or ())]
    context = {
        "page": "keys",
        "key": _row(key, now),
        "retired": [secret for secret in key.retired.all() if secret.valid_until > now and key.state(now) == "active"],
        "is_own": _is_own(key),
        "may_rotate": may_rotate(key),
        "rotate_form": RotateForm(),
        "revoke_form": RevokeForm(),
        "services_form": ServicesForm(allowed.services, initial={"services": chosen}),
        "form_id": secrets.token_urlsafe(9),
        "unused": sorted(allowed.services.keys() - set(chosen)),
    }
    return render(request, "portal/key.html", context | forms)


def _key(request: MemberRequest, prefix: str) -> ApiKey:
    """Raises Http404 for a key that is not the consumer's, as for one that does not exist."""
    key = request.member.consumer.keys.filter(prefix=prefix).first()
    if key is None:
        raise Http404
    return key


def _is_own(key: ApiKey) -> bool:
    """Whether a member created it: what staff's keys may do is staff's to change."""
    return key.created_by.startswith(MEMBER_PREFIX) and key.revoked_at is None


def _row(key: ApiKey, now: Any) -> dict[str, Any]:
    state = "expires soon" if key.expires_soon(now) else key.shown_state(now)
    scopes: Sequence[Any] = [_("every service that requires no scopes")] if key.scopes is None else key.scopes
    return {"row": key, "state": state, "is_active": key.state(now) == "active", "scopes": scopes}


def _is_repeated(request: HttpRequest) -> bool:
    """Whether this form has created a secret before. Adds a message if it has, since the secret is not shown again."""
    form_id, used = request.POST.get("form_id", "")[:40], request.session.get(FORM_IDS, [])
    if form_id and form_id in used:
        messages.info(request, _("This form was sent before. The secret that it created is not shown again."))
        return True
    request.session[FORM_IDS] = [*used, form_id][-MAX_FORM_IDS:]
    return False


def _too_many(request: MemberRequest) -> bool:
    """Count a created secret. Returns whether there are too many, and adds a message then."""
    consumer = str(request.member.consumer_id)
    if not exceeds(request, "portal.keys", lambda *_: consumer, CREATION_RATE, count=True):
        return False
    messages.error(request, _("Too many keys were created within an hour. Try again later."))
    return True
