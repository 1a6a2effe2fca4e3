"""Django's URLs: everything that asgi.py does not handle itself."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from metrics.admin import explain

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="dashboard:overview"), name="home"),
    path("admin/explain/", admin.site.admin_view(explain.explain_page), name="explain"),
    path("admin/", admin.site.urls),
    path("dashboard/", include("metrics.dashboard.urls")),
    path("", include("metrics.api.urls")),
    path("", include("routing.urls")),
]
