"""Sign-in with the provider: the way there, and the way back."""

import re
from typing import Any, Final

from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, override
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables

from metrics.audit import record_operation
from metrics.sign_in import accounts, pending, provider, sessions
from metrics.sign_in.claims import Person, ProviderSession, Refused, person_of, provider_session
from metrics.sign_in.pages import landing, log, message, safe_next
from metrics.sign_in.policy import Provider
from metrics.sign_in.provider_client import ProviderRefused, ProviderUnavailable
from routing.errors import InvalidToken

_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_CODE: Final = re.compile(r"[\x21-\x7e]{1,4096}")
_NOT_SIGNED_IN: Final = gettext_lazy("You are not signed in")


@method_decorator(never_cache, name="dispatch")
class ProviderView(View):
    """Sends the browser to the provider. With `process=connect`, to connect an identity to the session's account."""

    def post(self, request: HttpRequest) -> HttpResponse:
        configured = provider.configured()
        if configured is None:
            return redirect("account_login")
        user = None
        if request.POST.get("process") == "connect":
            sessions.require_recent_authentication(request)
            user = str(request.user.pk)
        begun = pending.begin(request.session, safe_next(request, request.POST.get("next", "")), user)
        try:
            url = provider.client(configured).authorization_url(
                provider.redirect_uri(request), begun.state, begun.nonce, begun.challenge
            )
        except ProviderUnavailable as error:
            return _unavailable(request, error)
        response = redirect(url)
        response.status_code = 303
        return response


@method_decorator(never_cache, name="dispatch")
class CallbackView(View):
    """Where the provider sends the browser, with a code or an error (OpenID Connect Core section 3.1.2.5)."""

    def get(self, request: HttpRequest) -> HttpResponse:
        configured = provider.configured()
        begun = pending.finish(request.session, request.GET.get("state", ""))
        if configured is None or begun is None:
            return _not_begun(request)
        request.session.save()  # Django does not after a status of 5xx, and the state would be good again
        refusal = _refusal(request, configured)
        if refusal is not None:
            return refusal
        try:
            return _finish(request, configured, begun)
        except ProviderUnavailable as error:
            return _unavailable(request, error)
        except ProviderRefused as error:
            log.warning("the identity provider refused a sign-in: %s", error)
            return message(request, _NOT_SIGNED_IN, _("The provider refused the sign-in."), 502, code=str(error))
        except InvalidToken as error:
            log.warning("an ID token of the identity provider is not valid: %s", error.detail)
            text = _("The provider's confirmation of who you are is not valid.")
            return message(request, _NOT_SIGNED_IN, text, 403, code=error.detail)


@sensitive_variables()
def _finish(request: HttpRequest, configured: Provider, begun: pending.PendingLogin) -> HttpResponse:
    """Redeem the code, and sign the person in or connect the identity."""
    client = provider.client(configured)
    if "iss" not in request.GET and client.metadata().names_itself:
        return message(request, _NOT_SIGNED_IN, _("The provider's response is incomplete."), 400)
    code, address = request.GET.get("code", ""), provider.redirect_uri(request)
    claims = client.claims(code, address, begun.verifier, begun.nonce)
    name = f"{claims['sub']} at {configured.issuer}"
    try:
        person = person_of(claims, configured)
        if begun.user is not None:
            return _connect(request, person, begun.user)
        return _sign_in(request, person, begun.next, claims["id_token"], provider_session(claims, configured))
    except Refused as error:
        with override("en"):
            record_operation(f"provider:{name}", "account.refused", after={"reason": str(error)})
        return message(request, _("You may not sign in"), str(error), 403)


def _sign_in(
    request: HttpRequest, person: Person, wanted: str, id_token: str, session: ProviderSession
) -> HttpResponse:
    known, teams = accounts.find_user(person), accounts.existing_teams(person.teams)
    if missing := person.teams - teams:
        names = ", ".join(sorted(missing))
        log.warning("groups of STAFF_OIDC_ROLES do not exist or have no roles for services: %s", names)
    if person.role is None and not teams and not _may_open_something(request, known, wanted):
        if known is not None:
            accounts.set_role(known, None)
        text = gettext_lazy(
            "You are known as {name}, but none of your groups may use the gateway. "
            "Ask for membership of one that may, and sign in again."
        )
        raise Refused(format_lazy(text, name=person.username))
    user = accounts.user_of(person)
    accounts.set_role(user, person.role, teams)
    if request.user.is_authenticated and request.user != user:
        logout(request)
    user = User.objects.get(pk=user.pk)  # without cached permissions
    target = landing(request, user, wanted)
    return sessions.begin_provider_session(request, user, target or "/", id_token, session)


def _may_open_something(request: HttpRequest, known: User | None, wanted: str) -> bool:
    """Whether there are pages for somebody without a role."""
    someone: Any = known or User(is_active=True)
    someone.is_staff = False
    return landing(request, someone, wanted) is not None


def _connect(request: HttpRequest, person: Person, pk: str) -> HttpResponse:
    user: Any = request.user
    if not user.is_authenticated or str(user.pk) != pk:
        return _not_begun(request)
    accounts.connect(user, person)
    return redirect("mfa_index")


def _refusal(request: HttpRequest, configured: Provider) -> HttpResponse | None:
    """The page for a response without a code, or of another provider (RFC 9207); None for a good one."""
    sent = request.GET.get("iss")
    if sent is not None and sent != configured.issuer:
        return message(request, _NOT_SIGNED_IN, _("The response is another provider's."), 400)
    error = request.GET.get("error", "")
    if error:
        code = error if _ERROR.fullmatch(error) else "unknown"
        cancelled, refused = _("The sign-in was cancelled."), _("The provider refused the sign-in.")
        text = cancelled if code == "access_denied" else refused
        return message(request, _NOT_SIGNED_IN, text, 403, code=code)
    if _CODE.fullmatch(request.GET.get("code", "")) is None:
        return message(request, _NOT_SIGNED_IN, _("The provider's response is incomplete."), 400)
    return None


def _not_begun(request: HttpRequest) -> HttpResponse:
    """A page that was loaded again, or a link that somebody else has made: nothing is done."""
    target = landing(request, request.user, "") if request.user.is_authenticated else None
    if target is not None:
        return redirect(target)
    text = _("This sign-in was not begun in this browser, or too long ago.")
    return message(request, _NOT_SIGNED_IN, text, 400)


def _unavailable(request: HttpRequest, error: ProviderUnavailable) -> HttpResponse:
    log.warning("a sign-in failed: %s", error)
    text = _("The identity provider does not respond. Try again in a minute.")
    response = message(request, _("The provider is not available"), text, 503)
    response["Retry-After"] = "60"
    return response
