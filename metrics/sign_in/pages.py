"""Pages about a sign-in that did not succeed, and the fields of all pages of this package."""

import logging
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from metrics.middleware import current_request_id
from metrics.portal.access import is_served
from metrics.portal.sign_in import portal_page
from metrics.sign_in import provider
from metrics.sign_in.provider_client import ProviderUnavailable
from routing.views import is_staff_origin

log = logging.getLogger(__name__)
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action {targets}; "
    "frame-ancestors 'none'; base-uri 'none'"
)


def protect(response: HttpResponse, *, leads_to_provider: bool = False) -> HttpResponse:
    """Set the Content-Security-Policy of a page of sign-in. Browsers apply form-action to redirects after a form too,
    and providers redirect on.
    """
    targets = "'self'"
    if leads_to_provider:
        targets += f" https:{_plain_origin()}"
    response["Content-Security-Policy"] = _POLICY.format(targets=targets)
    response["Cache-Control"] = "private, no-store"
    response["Referrer-Policy"] = "same-origin"
    return response


def message(
    request: HttpRequest, title: str | Promise, text: str | Promise, status: int, **context: Any
) -> HttpResponse:
    named = {"title": title, "text": text, "request_id": current_request_id(), **context}
    return protect(render(request, "sign_in/message.html", named, status=status))


def safe_next(request: HttpRequest, value: str) -> str:
    """The path to go on to, or "" if `value` leads to another host."""
    is_own = url_has_allowed_host_and_scheme(value, {request.get_host()}, require_https=request.is_secure())
    return value if is_own and value.startswith("/") and len(value) <= 2_000 else ""


def arrive(request: HttpRequest, user: Any, wanted: str) -> HttpResponse:
    """The response to somebody who is signed in: where they go, or a page that says that there is nothing for them."""
    target = landing(request, user, safe_next(request, wanted))
    if target is not None:
        return redirect(target)
    text = _("Your account has no page of the gateway that it may open. Ask an owner of the gateway for a role.")
    return message(request, _("You may not open this page"), text, 403, account=user.get_username())


def landing(request: HttpRequest, user: Any, wanted: str) -> str | None:
    """Where somebody goes after signing in; None if there is no page for them here.

    Members of the portal have no page for staff.
    """
    if user.is_active and user.is_staff and is_staff_origin(request):
        return wanted or reverse("admin:index")
    if not is_served(request):
        return None
    home = reverse("portal:overview") if getattr(user, "member", None) is not None else None
    return portal_page(wanted) or home


def _plain_origin() -> str:
    """The origin of a provider without TLS, as under DEBUG."""
    configured = provider.configured()
    if configured is None or configured.issuer.startswith("https:"):
        return ""
    try:
        parts = urlsplit(provider.client(configured).metadata().authorization_endpoint)
    except ProviderUnavailable:
        return ""
    return f" {parts.scheme}://{parts.netloc}"
