"""The gateway's pages and API for a project's URLs: `path("gateway/", include("gateway_project.included.urls"))`."""

from typing import Final

from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView

from gateway_project.included.pages import adapted
from gateway_project.pages.middleware import ADMIN_POLICY
from metrics.admin import explain, service_document
from metrics.api.urls import urlpatterns as api
from metrics.dashboard import urls as dashboard
from metrics.runtime_access import run_on_loop, running
from routing.connect import urls as connect
from routing.django_http import to_django_response
from routing.identity_views import key_set
from routing.pages.site import admin_site

SCHEMA: Final = ("schema", "docs")
"""Pages that need the settings of drf-spectacular."""


@login_not_required
def health(request: HttpRequest, page: str | None = None) -> HttpResponseBase:
    """`health`, `health/ready` and `health/deep`."""
    response = run_on_loop(running().health.response(f"/health/{page or ''}"))
    if response is None:
        raise Http404
    return to_django_response(request, response)


_site = admin_site()
_document = _site.admin_view(service_document.document_page)
_patterns, _app, _name = _site.urls
_pages: list[URLPattern | URLResolver] = [
    path("explain/", _site.admin_view(explain.explain_page), name="explain-request"),
    path("routing/service/<int:pk>/openapi/", _document, name="service_document"),
    path("", include((_patterns, _app), namespace=_name)),
]
urlpatterns = [
    path("", login_not_required(RedirectView.as_view(pattern_name="dashboard:overview"))),
    path("admin/", include(adapted(_pages, ADMIN_POLICY))),
    path("dashboard/", include((adapted(dashboard.urlpatterns), dashboard.app_name))),
    path("connect/", include(adapted(connect.urlpatterns))),
    *adapted(each for each in api if each.name not in SCHEMA),
    path(".well-known/jwks.json", login_not_required(key_set)),
    re_path(r"^health(?:/(?P<page>ready|deep))?/?$", health),
]
