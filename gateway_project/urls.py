"""Django's part of the paths: what asgi.py does not answer ahead of it."""

from django.contrib import admin
from django.urls import include, path

from metrics.admin import explain

urlpatterns = [
    path("admin/explain/", admin.site.admin_view(explain.page), name="explain"),
    path("admin/", admin.site.urls),
    path("dashboard/", include("metrics.dashboard_urls")),
    path("", include("metrics.urls")),
    path("", include("routing.urls")),
]
