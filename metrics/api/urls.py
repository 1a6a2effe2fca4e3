"""The paths of the metrics API, each with or without a trailing slash, and of the OpenAPI schema."""

from typing import Any, Final

from django.urls import re_path

from metrics.api.cache import CacheResetView, CacheServiceView, CacheView, CacheWarmView
from metrics.api.circuits import (
    CircuitDisableView,
    CircuitOpenView,
    CircuitResetView,
    CircuitsResetView,
    CircuitsView,
)
from metrics.api.explain import ExplainView
from metrics.api.overview import HistoryView, OverviewView
from metrics.api.schema import DocumentationView, SchemaView

_SERVICE = r"(?P<service>[A-Za-z][A-Za-z0-9_-]{0,62})"
_PUBLIC: Final[dict[str, Any]] = {"authentication_classes": (), "permission_classes": ()}
"""The schema is public: it names no configured service."""
OVERRIDE_VIEWS: Final = {"reset": CircuitResetView, "open": CircuitOpenView, "disable": CircuitDisableView}

urlpatterns = [
    re_path(r"^metrics/?$", OverviewView.as_view(), name="metrics"),
    re_path(r"^metrics/cache/?$", CacheView.as_view(), name="metrics-cache"),
    re_path(r"^metrics/cache/reset/?$", CacheResetView.as_view(), name="metrics-cache-reset"),
    re_path(r"^metrics/cache/warm/?$", CacheWarmView.as_view(), name="metrics-cache-warm"),
    re_path(rf"^metrics/cache/{_SERVICE}/?$", CacheServiceView.as_view(), name="metrics-cache-service"),
    re_path(r"^metrics/circuit-breakers/?$", CircuitsView.as_view(), name="metrics-circuits"),
    re_path(r"^metrics/circuit-breakers/reset/?$", CircuitsResetView.as_view(), name="metrics-circuits-reset"),
    *(
        re_path(rf"^metrics/circuit-breakers/{_SERVICE}/{verb}/?$", view.as_view(), name=f"metrics-circuit-{verb}")
        for verb, view in OVERRIDE_VIEWS.items()
    ),
    re_path(r"^metrics/history/?$", HistoryView.as_view(), name="metrics-history"),
    re_path(r"^api/explain/?$", ExplainView.as_view(), name="api-explain"),
    re_path(r"^api/schema/?$", SchemaView.as_view(**_PUBLIC), name="schema"),
    re_path(r"^api/docs/?$", DocumentationView.as_view(url_name="schema", **_PUBLIC), name="docs"),
]
