"""Signing in and out, and joining with a link. Accounts of staff sign in where staff do.

Where the environment configures a provider or second factors, members sign in as staff do (metrics/sign_in).
"""

from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model, login, logout, update_session_auth_hash
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from metrics.portal.access import MemberRequest, member_of, member_page, public_page
from routing.database.actor import acting_as
from routing.database.members import NotPossible, by_link, use_link
from routing.models import Member

NEXT_PAGES: Final = frozenset(
    {"overview", "service", "keys", "key", "usage", "errors", "plan", "members", "password", "invitation"}
)
"""The pages that may follow the login."""
BACKEND: Final = "django.contrib.auth.backends.ModelBackend"


class SignInForm(AuthenticationForm):
    """Members' addresses are kept in lower case. A password alone does not sign in staff, who may need more."""

    def __init__(self, request: HttpRequest, data: Any = None) -> None:
        super().__init__(request, data)
        self.fields["username"].label = _("Email address")

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"]).strip()
        return name.lower() if "@" in name else name

    def confirm_login_allowed(self, user: Any) -> None:
        super().confirm_login_allowed(user)
        if user.is_staff:
            raise ValidationError(_("This is an account of staff, who sign in to the dashboard."), code="staff")


@public_page
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def login_page(request: HttpRequest) -> HttpResponse:
    target = next_page(request)
    if settings.CONFIG.sign_in is not None:
        return redirect(f"{reverse('account_login')}?{urlencode({'next': target})}")
    if request.method != "POST" and member_of(request.user) is not None:
        return redirect(target)
    form = SignInForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user(), BACKEND)
        return redirect(target)
    return render(request, "portal/login.html", {"form": form, "next": target})


@public_page
@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    """A session that began at the provider ends there too, by the page of all sessions: the form is sent on to it."""
    if settings.CONFIG.sign_in is not None:
        return HttpResponseRedirect(reverse("account_logout"), preserve_request=True)
    logout(request)
    return redirect("portal:login")


@public_page
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def invitation_page(request: HttpRequest, secret: str) -> HttpResponse:
    """A link is shown, and used up by what is done with it: programs that preview links only read."""
    member = by_link(secret)
    if member is None:
        text = _("It has been used, was replaced, or has expired. Ask whoever invited you for a new one.")
        return render(
            request, "portal/message.html", {"title": _("This link cannot be used"), "text": text}, status=404
        )
    configured = settings.CONFIG.sign_in
    may_choose = configured is None or configured.has_password_login
    account: Any = member.user or get_user_model()(username=member.email, email=member.email)
    form = SetPasswordForm(account, request.POST if "new_password1" in request.POST and may_choose else None)
    may_join = member.user is None and request.user.is_authenticated and member_of(request.user) is None
    if request.method == "POST":
        response = _use(request, secret, member, form, may_join=may_join)
        if response is not None:
            return response
    context = {"invited": member, "form": form, "may_join": may_join, "may_choose": may_choose, "secret": secret}
    return render(request, "portal/invitation.html", context)


def _use(
    request: HttpRequest, secret: str, member: Member, form: "SetPasswordForm[Any]", *, may_join: bool
) -> HttpResponse | None:
    """Join, or set the password. None if the page has to show the form again."""
    joins = may_join and "join" in request.POST
    if not joins and not form.is_valid():
        return None
    password = "" if joins else form.cleaned_data["new_password1"]
    with acting_as(f"member:{member.email}"):
        try:
            user = use_link(secret, password=password, user=request.user if joins else None)
        except NotPossible as reason:
            form.add_error(None, str(reason))
            return None
    welcome = _("Welcome to %(consumer)s.") % {"consumer": member.consumer}
    messages.success(request, _("Your password has been set.") if member.user else welcome)
    if joins or settings.CONFIG.sign_in is not None:
        return redirect("portal:overview")  # by the login page, which may ask for more than a password
    login(request, user, BACKEND)
    return redirect("portal:overview")


@member_page
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password_page(request: MemberRequest) -> HttpResponse:
    if settings.CONFIG.sign_in is not None:
        return redirect("account_change_password")
    user: Any = request.user
    form = PasswordChangeForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, _("Your password has been changed. Your other sessions have ended."))
        return redirect("portal:overview")
    return render(request, "portal/password.html", {"form": form})


def next_page(request: HttpRequest) -> str:
    """Where to go after signing in: a page of the portal, whatever a link says. Never a page of a service."""
    return portal_page(request.POST.get("next") or request.GET.get("next") or "") or reverse("portal:overview")


def portal_page(address: str) -> str | None:
    """The path of the portal's page at this address; None for any other address."""
    try:
        parts = urlsplit(address)
        found = resolve(parts.path)
    except (ValueError, Resolver404):  # ValueError: brackets that are no IPv6 address
        return None
    if parts.scheme or parts.netloc or found.namespace != "portal" or found.url_name not in NEXT_PAGES:
        return None
    return reverse(f"portal:{found.url_name}", kwargs=found.kwargs)
