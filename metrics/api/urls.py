"""The metrics API's paths, with or without a slash at their end; and what tells of every path."""

from typing import Any, Final

from django.urls import re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from metrics.api import views
from metrics.api.explain import ExplainApi

_SERVICE = r"(?P<service>[A-Za-z][A-Za-z0-9_-]{0,62})"
_OPEN: Final[dict[str, Any]] = {"authentication_classes": (), "permission_classes": ()}
"""How the gateway is used is no secret: what it serves is."""
_ORDERS: Final = {"reset": views.CircuitResetApi, "open": views.CircuitOpenApi, "disable": views.CircuitDisableApi}

urlpatterns = [
    re_path(r"^metrics/?$", views.MetricsApi.as_view(), name="metrics"),
    re_path(r"^metrics/cache/?$", views.CacheApi.as_view(), name="metrics-cache"),
    re_path(r"^metrics/cache/reset/?$", views.CacheResetApi.as_view(), name="metrics-cache-reset"),
    re_path(r"^metrics/cache/warm/?$", views.CacheWarmApi.as_view(), name="metrics-cache-warm"),
    re_path(rf"^metrics/cache/{_SERVICE}/?$", views.CacheServiceApi.as_view(), name="metrics-cache-service"),
    re_path(r"^metrics/circuit-breakers/?$", views.CircuitsApi.as_view(), name="metrics-circuits"),
    re_path(r"^metrics/circuit-breakers/reset/?$", views.CircuitsResetApi.as_view(), name="metrics-circuits-reset"),
    *(
        re_path(rf"^metrics/circuit-breakers/{_SERVICE}/{word}/?$", view.as_view(), name=f"metrics-circuit-{word}")
        for word, view in _ORDERS.items()
    ),
    re_path(r"^metrics/history/?$", views.HistoryApi.as_view(), name="metrics-history"),
    re_path(r"^api/explain/?$", ExplainApi.as_view(), name="api-explain"),
    re_path(r"^api/schema/?$", SpectacularAPIView.as_view(**_OPEN), name="schema"),
    re_path(r"^api/docs/?$", SpectacularSwaggerView.as_view(url_name="schema", **_OPEN), name="docs"),
]
