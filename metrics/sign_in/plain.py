"""The login page where the environment configures no other sign-in: also for people who are not staff."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME, views
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from metrics.sign_in.pages import arrive, protect, safe_next
from metrics.sign_in.provider import sign_in


class LoginForm(AuthenticationForm):
    """Names that are addresses are members' of consumers, which are kept in lower case."""

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"]).strip()
        is_address = "@" in name and not User.objects.filter(username=name).exists()
        return name.lower() if is_address else name


class LoginView(views.LoginView):
    """Django's, whose form accepts every active user. Where they go depends on what they may open."""

    template_name = "account/login.html"
    leads_to_provider = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            return arrive(request, request.user, request.POST.get("next") or request.GET.get("next", ""))
        response = super().dispatch(request, *args, **kwargs)
        if not isinstance(response, HttpResponse):
            return response
        return protect(response, leads_to_provider=self.leads_to_provider)

    def get_form_class(self) -> type[AuthenticationForm]:
        return LoginForm

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        super().form_valid(form)
        return arrive(self.request, self.request.user, self.request.POST.get("next", ""))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        wanted = self.request.POST.get("next") or self.request.GET.get("next", "")
        return {**super().get_context_data(**kwargs), "redirect_field_value": wanted, "sign_in": sign_in()}


@never_cache
def admin_login(request: HttpRequest) -> HttpResponse:
    """Django's, but who is signed in is led to the page they wanted instead of the index: after a session has ended and
    they have signed in in one tab, they go on in the others.
    """
    wanted = safe_next(request, request.GET.get(REDIRECT_FIELD_NAME, ""))
    if wanted and request.method in ("GET", "HEAD") and admin.site.has_permission(request):
        return redirect(wanted)
    return admin.site.login(request)


class LogoutView(views.LogoutView):
    template_name = "sign_in/signed_out.html"

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        super().post(request, *args, **kwargs)
        return protect(render(request, self.template_name))
