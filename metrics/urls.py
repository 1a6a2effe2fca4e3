"""The metrics API's paths, with or without a slash at their end; and what tells of every path."""

from typing import Any, Final

from django.urls import re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from metrics import api

_SERVICE = r"(?P<service>[A-Za-z][A-Za-z0-9_-]{0,62})"
_OPEN: Final[dict[str, Any]] = {"authentication_classes": (), "permission_classes": ()}
"""How the gateway is used is no secret: what it serves is."""
_ORDERS: Final = {"reset": api.CircuitResetApi, "open": api.CircuitOpenApi, "disable": api.CircuitDisableApi}

urlpatterns = [
    re_path(r"^metrics/?$", api.MetricsApi.as_view(), name="metrics"),
    re_path(r"^metrics/cache/?$", api.CacheApi.as_view(), name="metrics-cache"),
    re_path(r"^metrics/cache/reset/?$", api.CacheResetApi.as_view(), name="metrics-cache-reset"),
    re_path(r"^metrics/cache/warm/?$", api.CacheWarmApi.as_view(), name="metrics-cache-warm"),
    re_path(rf"^metrics/cache/{_SERVICE}/?$", api.CacheServiceApi.as_view(), name="metrics-cache-service"),
    re_path(r"^metrics/circuit-breakers/?$", api.CircuitsApi.as_view(), name="metrics-circuits"),
    re_path(r"^metrics/circuit-breakers/reset/?$", api.CircuitsResetApi.as_view(), name="metrics-circuits-reset"),
    *(
        re_path(rf"^metrics/circuit-breakers/{_SERVICE}/{word}/?$", view.as_view(), name=f"metrics-circuit-{word}")
        for word, view in _ORDERS.items()
    ),
    re_path(r"^metrics/history/?$", api.HistoryApi.as_view(), name="metrics-history"),
    re_path(r"^api/schema/?$", SpectacularAPIView.as_view(**_OPEN), name="schema"),
    re_path(r"^api/docs/?$", SpectacularSwaggerView.as_view(url_name="schema", **_OPEN), name="docs"),
]
