"""Django's URLs: everything that asgi.py does not handle itself."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.cache import cache_control
from django.views.generic import RedirectView
from django.views.i18n import JavaScriptCatalog, set_language

from metrics.admin import explain, service_document
from metrics.api.fallback import UnknownPathView
from metrics.sign_in.urls import admin_urls
from metrics.sign_in.urls import urlpatterns as sign_in_urls

handler400 = "metrics.api.fallback.bad_request"
handler403 = "metrics.api.fallback.permission_denied"
handler404 = "metrics.api.fallback.page_not_found"
handler500 = "metrics.api.fallback.server_error"

_catalogue = cache_control(private=True, max_age=3_600)(JavaScriptCatalog.as_view(packages=["gateway_project"]))
"""The texts of scripts in the page's language."""

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="dashboard:overview"), name="home"),
    path("admin/explain/", admin.site.admin_view(explain.explain_page), name="explain-request"),
    path(
        "admin/routing/service/<int:pk>/openapi/",
        admin.site.admin_view(service_document.document_page),
        name="service_document",
    ),
    path("admin/", include(admin_urls())),
    path("admin/", admin.site.urls),
    path("accounts/messages.js", _catalogue, name="javascript_catalog"),
    path("accounts/language/", set_language, name="set_language"),
    path("accounts/", include(sign_in_urls)),
    path("dashboard/", include("metrics.dashboard.urls")),
    path("portal/", include("metrics.portal.urls")),
    path("", include("metrics.api.urls")),
    re_path(r"^(?:metrics|api)/(?!v1(?:/|$))", UnknownPathView.as_view()),
    path("", include("routing.urls")),
]
