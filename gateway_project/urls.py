"""Django's part of the paths: what asgi.py does not answer ahead of it."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("", include("metrics.urls")), path("", include("routing.urls"))]
