"""The URLs of services, events, health, webhooks and connected accounts under Django."""

from django.urls import include, path, re_path

from routing.identity_views import key_set
from routing.views import EventsView, HealthView, ServiceProxyView, WebhookView

urlpatterns = [
    re_path(r"^api/v1(?:/.*)?$", ServiceProxyView.as_view(), name="service"),
    path(".well-known/jwks.json", key_set, name="jwks"),
    path("connect/", include("routing.connect.urls")),
    path("events", EventsView.as_view(), name="events"),
    *(re_path(rf"^{page}/?$", HealthView.as_view(), name=page) for page in ("health", "health/ready", "health/deep")),
    re_path(r"^hooks/.*$", WebhookView.as_view(), name="webhook"),
]
