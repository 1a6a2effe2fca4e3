"""The pages of a service's connected account: its state, Connect and Disconnect, and the return of an authorization.

A person comes with a session, for the caller that staff are in the gateway, or by a link, for the caller that made it.
"""

import re
import secrets
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from resilience.outage import StoreUnavailable
from routing import runtime
from routing.caller import Caller
from routing.connect.state import AccountState, account_state
from routing.credentials import pending
from routing.credentials.connections import policy_of
from routing.credentials.grants import Subject, authorization_url, new_proof
from routing.credentials.pending import Owner
from routing.credentials.subjects import subject_of
from routing.credentials.token_response import TokenRequestFailed
from routing.credentials.vault import VaultUnavailable
from routing.errors import Forbidden
from routing.pages.rendering import render
from routing.rights import Right, may
from routing.router.credential_policy import CredentialPolicy, Per
from routing.router.table import Service
from routing.signals import operation_performed
from routing.views import is_staff_origin

_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}")


@method_decorator(never_cache, name="dispatch")
class IndexView(View):
    """The services that a member of staff can connect an account to."""

    def get(self, request: HttpRequest) -> HttpResponse:
        owner = _session_owner(request, "")
        if owner is None:
            return _log_in(request)
        rows = []
        for name, service in sorted(runtime.current().gateway.live.table.services.items()):
            policy = policy_of(service)
            subject = None if policy is None else _subject(request, policy, owner._replace(service=name))
            if subject is not None:
                rows.append((name, account_state(name, subject)))
        return render(request, "connect/index.html", {"rows": rows})


@method_decorator(never_cache, name="dispatch")
class ConnectView(View):
    """A link is shown, and used up by what is done with it: programs that preview links only read."""

    def get(self, request: HttpRequest, service: str) -> HttpResponse:
        token = request.GET.get("link", "")
        owner = pending.link_owner(service, token) if token else _session_owner(request, service)
        if owner is None:
            return _unusable(request) if token else _log_in(request)
        return _page(request, owner, token)

    def post(self, request: HttpRequest, service: str) -> HttpResponse:
        token = request.POST.get("link", "")
        owner = pending.use_link(service, token) if token else _session_owner(request, service)
        if owner is None:
            return _unusable(request)
        found = _found(request, owner)
        if found is None:
            return _message(request, service, _("No account can be connected here."), 403)
        if request.POST.get("action") == "disconnect":
            return _disconnect(request, owner, found[0], found[2], by_link=bool(token))
        return _begin(request, owner, found[1])


@method_decorator(never_cache, name="dispatch")
class CallbackView(View):
    """Where the authorization server sends the browser, with a code or an error (RFC 6749 section 4.1.2)."""

    def get(self, request: HttpRequest, service: str) -> HttpResponse:
        browser = request.COOKIES.get(settings.CONFIG.connect_cookie, "")
        begun = pending.finish(service, request.GET.get("state", ""), browser)
        if begun is None or not _is_same_person(request, begun.owner):
            text = _(
                "This authorization was not begun in this browser, began too long ago, or has been used. "
                "Nothing has changed now."
            )
            return _message(request, service, text, 400)
        found, code = _found(request, begun.owner), request.GET.get("code", "")
        if found is None:
            return _message(request, service, _("No account can be connected here."), 403)
        error = request.GET.get("error", "")
        if error or _CODE.fullmatch(code) is None:
            return _not_connected(request, service, error if _ERROR.fullmatch(error) else "no_code", 400)
        return _exchange(request, begun, found[0], found[2], code)


@sensitive_variables()
def _begin(request: HttpRequest, owner: Owner, policy: CredentialPolicy) -> HttpResponse:
    """Send the browser to the authorization server."""
    proof, browser = new_proof(), request.COOKIES.get(settings.CONFIG.connect_cookie) or secrets.token_urlsafe(32)
    verifier = runtime.current().connections.cipher.encrypt(_verifier_name(owner), proof.verifier.encode()).decode()
    state = pending.begin(owner, browser, verifier)
    url = authorization_url(policy, state, proof.challenge, _redirect_uri(request, owner.service))
    response = redirect(url)
    response.status_code = 303
    response.set_cookie(
        settings.CONFIG.connect_cookie,
        browser,
        max_age=pending.STATE_SECONDS,
        path=reverse("connect-index"),
        secure=request.is_secure() or not settings.DEBUG,
        httponly=True,
        samesite="Lax",
    )
    return response


@sensitive_variables()
def _exchange(
    request: HttpRequest, begun: pending.PendingAuthorization, service: Service, subject: Subject, code: str
) -> HttpResponse:
    connections, name = runtime.current().connections, service.name
    verifier = connections.cipher.decrypt(_verifier_name(begun.owner), begun.verifier.encode())
    if verifier is None:
        return _message(request, name, _("The account was not connected: the gateway's keys have changed."), 400)
    exchange = connections.exchange(service, subject, code, verifier.decode(), _redirect_uri(request, name))
    try:
        account = runtime.current().wait_for(exchange)
    except TokenRequestFailed as error:
        return _not_connected(request, name, error.code, 502)
    except (VaultUnavailable, StoreUnavailable):
        text = _("The account was not connected: the gateway cannot store it now.")
        return _message(request, name, text, 503)
    _record("credential.connected", begun.owner, subject, {"account": account} if account else {})
    text = _("The account is connected.")
    if account:
        text = _("The account %(account)s is connected.") % {"account": account}
    return _message(request, name, text, 200)  # the cookie stays: another tab may be connecting another account


def _record(action: str, owner: Owner, subject: Subject, result: dict[str, object]) -> None:
    """For the audit log: the actor is the member of staff, or the caller that made the link."""
    after = {"credential": subject.id, **result}
    operation_performed.send(None, actor=owner.caller, action=action, service=owner.service, before=None, after=after)


def _disconnect(
    request: HttpRequest, owner: Owner, service: Service, subject: Subject, *, by_link: bool
) -> HttpResponse:
    try:
        revoked = runtime.current().wait_for(runtime.current().connections.disconnect(service, subject))
    except (VaultUnavailable, StoreUnavailable):
        return _message(request, service.name, _("The account could not be removed now. Try again."), 503)
    _record("credential.disconnected", owner, subject, {"revoked": revoked})
    if not revoked:
        text = _("The account is disconnected. Its provider could not be told: remove the access there too.")
        return _message(request, service.name, text, 200)
    if by_link:
        return _message(request, service.name, _("The account is disconnected."), 200)
    return redirect("connect-service", service.name)


def _page(request: HttpRequest, owner: Owner, token: str) -> HttpResponse:
    found = _found(request, owner)
    if found is None:
        return _message(request, owner.service, _("No account can be connected here."), 404)
    service, policy, subject = found
    state: AccountState = account_state(service.name, subject)
    context = {
        "service": service.name,
        "owner": subject.id.partition(":")[2] or _("all calls to this service"),
        "per": policy.per.value,
        "provider": urlsplit(policy.authorize_url).hostname,
        "scopes": policy.scopes,
        "state": state,
        "link": token,
    }
    response = render(request, "connect/service.html", context)
    # Browsers apply form-action to the redirects after a form too, and providers redirect on.
    response["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' https: "
        f"{_origin(policy.authorize_url)}; frame-ancestors 'none'; base-uri 'none'"
    )
    return response


def _found(request: HttpRequest, owner: Owner) -> tuple[Service, CredentialPolicy, Subject] | None:
    """The service as it is configured now, if its owner may connect an account to it."""
    service = runtime.current().gateway.live.table.services.get(owner.service)
    policy = None if service is None else policy_of(service)
    subject = None if policy is None else _subject(request, policy, owner)
    return None if service is None or policy is None or subject is None else (service, policy, subject)


def _subject(request: HttpRequest, policy: CredentialPolicy, owner: Owner) -> Subject | None:
    """Whose credential the owner connects: the service's own is that of its operators, a tenant's that of links made
    for it.
    """
    if policy.per is Per.TENANT and owner.per != Per.TENANT:
        return None
    if policy.per is Per.SERVICE and not (
        is_staff_origin(request) and may(request.user, Right.CONFIGURE, owner.service)
    ):
        return None
    try:
        return subject_of(policy, Caller(owner.caller, owner.tenant or None), owner.service)
    except Forbidden:
        return None


def _session_owner(request: HttpRequest, service: str) -> Owner | None:
    user: Any = request.user if is_staff_origin(request) else AnonymousUser()
    may_connect = user.is_authenticated and user.is_active and user.is_staff
    return Owner(service, f"staff:{user.get_username()}") if may_connect else None


def _is_same_person(request: HttpRequest, owner: Owner) -> bool:
    """A session that began an authorization must still be that user's."""
    return not owner.caller.startswith("staff:") or _session_owner(request, owner.service) == owner


def _redirect_uri(request: HttpRequest, service: str) -> str:
    return request.build_absolute_uri(reverse("connect-callback", args=[service]))


def _verifier_name(owner: Owner) -> str:
    return f"verifier\n{owner.service}\n{owner.caller}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _log_in(request: HttpRequest) -> HttpResponse:
    if not is_staff_origin(request):
        return _unusable(request)
    return redirect(f"{reverse('admin:login')}?next={request.path}")


def _unusable(request: HttpRequest) -> HttpResponse:
    text = _("This link has been used, has expired, or never was one. Create a new one.")
    return _message(request, "", text, 404)


def _not_connected(request: HttpRequest, service: str, code: str, status: int) -> HttpResponse:
    """`code` is the provider's error code, or one of ours."""
    text = _("The account was not connected (%(code)s).") % {"code": code}
    return _message(request, service, text, status)


def _message(request: HttpRequest, service: str, text: str, status: int) -> HttpResponse:
    known = service in runtime.current().gateway.live.table.services
    has_session = _session_owner(request, "") is not None
    context = {"service": service if known else "", "text": text, "has_session": has_session}
    return render(request, "connect/message.html", context, status=status)
