"""The portal's overview, a service's page, and errors."""

import json
import secrets
from datetime import UTC, datetime
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from metrics.failures.failure import Failure
from metrics.portal.access import MEMBER_PREFIX, MemberRequest, member_page
from metrics.portal.allowed import allowed_of
from metrics.portal.catalogue import CatalogueEntry, catalogue, entry
from metrics.portal.keys import active_keys
from metrics.portal.openapi import published
from metrics.portal.usage import quotas_of
from metrics.runtime_access import run_on_loop, running
from resilience.outage import StoreUnavailable
from routing.database.openapi import openapi_of, titles_of
from routing.models import Consumer


@member_page
@require_safe
def overview_page(request: MemberRequest) -> HttpResponse:
    consumer = request.member.consumer
    allowed = allowed_of(consumer)
    services = catalogue(allowed, running().gateway.live.table.services, titles_of(allowed.services))
    context = {
        "page": "overview",
        "services": services,
        "keys": active_keys(consumer),
        "has_own_key": active_keys(consumer).filter(created_by__startswith=MEMBER_PREFIX).exists(),
        "quotas": quotas_of(consumer),
        "form_id": secrets.token_urlsafe(9),
        "failures": len(failures_of(consumer) or ()),
    }
    return render(request, "portal/overview.html", context)


@member_page
@require_safe
def service_page(request: MemberRequest, name: str) -> HttpResponse:
    service, document = _service(request.member.consumer, name)
    context = {"page": "overview", "service": service, "has_document": document is not None}
    return render(request, "portal/service.html", context)


@member_page
@require_safe
def document_json(request: MemberRequest, name: str) -> HttpResponse:
    """The service's OpenAPI document, with the gateway as its server and without what the plan does not include."""
    service, document = _service(request.member.consumer, name)
    if document is None:
        raise Http404
    server = request.build_absolute_uri(f"/api/v1/{service.name}")
    shown = published(document, service.methods, server, own_security=service.forwards_authorization)
    response = HttpResponse(json.dumps(shown), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{service.name}.openapi.json"'
    return response


@member_page
@require_safe
def errors_page(request: MemberRequest) -> HttpResponse:
    failures = failures_of(request.member.consumer)
    rows = None if failures is None else [_failure_row(failure) for failure in failures]
    return render(request, "portal/errors.html", {"page": "errors", "failures": rows})


def failures_of(consumer: Consumer) -> list[Failure] | None:
    """The consumer's latest failures; None if they cannot be read now."""
    try:
        return run_on_loop(running().failures.read(consumer.pk))
    except StoreUnavailable:
        return None


def _failure_row(failure: Failure) -> dict[str, Any]:
    kind, _, name = failure.caller.partition(":")
    caller = f"gw_{name}" if kind == "key" else failure.caller
    return {"failure": failure, "at": _time(failure.at), "caller": caller}


def _service(consumer: Consumer, name: str) -> tuple[CatalogueEntry, dict[str, Any] | None]:
    """A service, and its document. Raises Http404, whether it does not exist or is not the consumer's."""
    allowed, table = allowed_of(consumer), running().gateway.live.table.services
    if name not in allowed.services or name not in table:
        raise Http404
    document = openapi_of(name)
    return entry(table[name], allowed, document, titles_of([name]).get(name, "")), document


def _time(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
