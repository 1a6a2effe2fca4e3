"""The URLs of a project that includes the gateway."""

from django.urls import include, path

urlpatterns = [path("tools/gateway/", include("gateway_project.included.urls"))]
