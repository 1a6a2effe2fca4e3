"""The admin site that has the gateway's models.

It is the default one in the gateway's own project. A project that includes the gateway keeps its admin as it is: the
gateway then has a site of its own.
"""

from functools import cache
from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.sites import UnfoldAdminSite

INCLUDED: Final = "gateway_project.included"
"""The app that a project installs to include the gateway."""
NAME: Final = "gateway-admin"
THEME: Final = "GATEWAY_ADMIN_THEME"
"""The setting that has the site's appearance."""


class GatewayAdminSite(UnfoldAdminSite):  # type: ignore[misc] # unfold is untyped
    """Beside a project's own site, which signs users in and changes their passwords."""

    settings_name = THEME

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Redirect to the login of the project's admin or, if it has none, to LOGIN_URL."""
        wanted = request.GET.get(REDIRECT_FIELD_NAME) or reverse("admin:index", current_app=self.name)
        return redirect_to_login(wanted, self._project_page("login") or str(settings.LOGIN_URL))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:  # noqa: ARG002 - Django's signature
        """Redirect to the page of the project's admin. Raises Http404 if it has none."""
        found = self._project_page("password_change")
        if found is None:
            raise Http404
        return redirect(found)

    def _project_page(self, name: str) -> str | None:
        """The page of the project's admin."""
        found = reverse(f"admin:{name}")
        return None if found == reverse(f"admin:{name}", current_app=self.name) else found


def is_included() -> bool:
    """Whether the gateway is a part of another team's project. Only once all apps are known."""
    return apps.is_installed(INCLUDED)


@cache
def _own_site() -> GatewayAdminSite:
    return GatewayAdminSite(NAME)


def admin_site() -> admin.AdminSite:
    """The site with the gateway's models. Only once all apps are known."""
    return _own_site() if is_included() else admin.site


def theme() -> dict[str, Any]:
    """The appearance and the sidebar of `admin_site()`."""
    found: dict[str, Any] = getattr(settings, THEME if is_included() else "UNFOLD")
    return found


def admin_url(page: str, *args: Any) -> str:
    """The path of a page of `admin_site()`: `routing_service_changelist`."""
    return reverse(f"admin:{page}", args=args, current_app=admin_site().name)
