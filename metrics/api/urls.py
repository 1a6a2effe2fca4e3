"""The paths of the metrics API, each with or without a trailing slash, and of the OpenAPI schema."""

from typing import Any, Final

from django.urls import re_path

from metrics.api.alerts import AlertsView, AlertTestView, SilencesView, SilenceView
from metrics.api.cache import CacheResetView, CacheServiceView, CacheView, CacheWarmView
from metrics.api.callers import CallersView, CallerView
from metrics.api.circuits import (
    CircuitDisableView,
    CircuitOpenView,
    CircuitResetView,
    CircuitsResetView,
    CircuitsView,
)
from metrics.api.configuration import ConfigurationView, ServiceConfigurationView
from metrics.api.configuration_history import ConfigurationHistoryView, ConfigurationRevisionView
from metrics.api.configuration_proposals import ConfigurationProposalsView, ConfigurationProposalView
from metrics.api.credentials import CredentialForgetView, CredentialsView
from metrics.api.explain import ExplainView
from metrics.api.incidents import ConfigurationRestoreView, DeploymentsView, ProbeView
from metrics.api.keys import KeyRotateView, KeyVerifyView
from metrics.api.overview import HistoryView, OverviewView
from metrics.api.quotas import ConsumerQuotasView, QuotaRaiseView, QuotaRefundView, QuotaResetView
from metrics.api.replay import ReplayView
from metrics.api.requests import RequestsView, RequestView
from metrics.api.revocations import RevocationsView, RevocationView
from metrics.api.savings import SavingsView
from metrics.api.schema import DocumentationView, SchemaView
from metrics.api.service_document import ServiceDocumentView
from metrics.api.usage import UsageView

_KEY_PREFIX = r"(?P<prefix>[A-Za-z0-9_:]{1,24})"
"""In any form in which prefixes are shown. A whole key is longer: addresses are logged."""
_SERVICE = r"(?P<service>[A-Za-z][A-Za-z0-9_-]{0,62})"
_CONSUMER = r"(?P<consumer>key:[a-z2-7]{8}|[A-Za-z0-9][A-Za-z0-9._@+-]{0,99})"
_KIND: Final = r"(?P<kind>consumer|caller|key|team)"
_REQUEST: Final = r"(?P<identifier>[A-Za-z0-9._-]{1,128})"
_PUBLIC: Final[dict[str, Any]] = {"authentication_classes": (), "permission_classes": ()}
"""The schema is public: it names no configured service."""
OVERRIDE_VIEWS: Final = {"reset": CircuitResetView, "open": CircuitOpenView, "disable": CircuitDisableView}
QUOTA_VIEWS: Final = {"reset": QuotaResetView, "raise": QuotaRaiseView, "refund": QuotaRefundView}

urlpatterns = [
    re_path(r"^metrics/?$", OverviewView.as_view(), name="metrics-overview"),
    re_path(r"^metrics/alerts/?$", AlertsView.as_view(), name="metrics-alerts"),
    re_path(r"^metrics/alerts/test/?$", AlertTestView.as_view(), name="metrics-alert-test"),
    re_path(r"^metrics/alerts/silences/?$", SilencesView.as_view(), name="metrics-silences"),
    re_path(r"^metrics/alerts/silences/(?P<number>[0-9]{1,18})/?$", SilenceView.as_view(), name="metrics-silence"),
    re_path(r"^metrics/cache/?$", CacheView.as_view(), name="metrics-cache"),
    re_path(r"^metrics/cache/reset/?$", CacheResetView.as_view(), name="metrics-cache-reset"),
    re_path(r"^metrics/cache/warm/?$", CacheWarmView.as_view(), name="metrics-cache-warm"),
    re_path(rf"^metrics/cache/{_SERVICE}/?$", CacheServiceView.as_view(), name="metrics-cache-service"),
    re_path(r"^metrics/callers/?$", CallersView.as_view(), name="metrics-callers"),
    re_path(rf"^metrics/callers/{_KIND}/?$", CallerView.as_view(), name="metrics-caller"),
    re_path(r"^metrics/circuit-breakers/?$", CircuitsView.as_view(), name="metrics-circuits"),
    re_path(r"^metrics/circuit-breakers/reset/?$", CircuitsResetView.as_view(), name="metrics-circuits-reset"),
    *(
        re_path(rf"^metrics/circuit-breakers/{_SERVICE}/{verb}/?$", view.as_view(), name=f"metrics-circuit-{verb}")
        for verb, view in OVERRIDE_VIEWS.items()
    ),
    re_path(rf"^metrics/circuit-breakers/{_SERVICE}/probe/?$", ProbeView.as_view(), name="metrics-probe"),
    re_path(r"^metrics/deployments/?$", DeploymentsView.as_view(), name="metrics-deployments"),
    re_path(rf"^metrics/consumers/{_CONSUMER}/quotas/?$", ConsumerQuotasView.as_view(), name="metrics-quotas"),
    *(
        re_path(rf"^metrics/consumers/{_CONSUMER}/quotas/{verb}/?$", view.as_view(), name=f"metrics-quota-{verb}")
        for verb, view in QUOTA_VIEWS.items()
    ),
    re_path(r"^metrics/credentials/?$", CredentialsView.as_view(), name="metrics-credentials"),
    re_path(
        rf"^metrics/credentials/{_SERVICE}/forget/?$", CredentialForgetView.as_view(), name="metrics-credential-forget"
    ),
    re_path(r"^metrics/history/?$", HistoryView.as_view(), name="metrics-history"),
    re_path(r"^metrics/replay/?$", ReplayView.as_view(), name="metrics-replay"),
    re_path(r"^metrics/requests/?$", RequestsView.as_view(), name="metrics-requests"),
    re_path(rf"^metrics/requests/{_REQUEST}/?$", RequestView.as_view(), name="metrics-request"),
    re_path(r"^metrics/savings/?$", SavingsView.as_view(), name="metrics-savings"),
    re_path(r"^metrics/usage/?$", UsageView.as_view(), name="metrics-usage"),
    re_path(r"^api/revocations/?$", RevocationsView.as_view(), name="api-revocations"),
    re_path(r"^api/revocations/(?P<number>[0-9]{1,18})/?$", RevocationView.as_view(), name="api-revocation"),
    re_path(r"^api/explain/?$", ExplainView.as_view(), name="api-explain"),
    re_path(r"^api/config/?$", ConfigurationView.as_view(), name="api-config"),
    re_path(r"^api/config/history/?$", ConfigurationHistoryView.as_view(), name="api-config-history"),
    re_path(
        r"^api/config/history/(?P<number>[0-9]{1,18})/?$",
        ConfigurationRevisionView.as_view(),
        name="api-config-revision",
    ),
    re_path(r"^api/config/proposals/?$", ConfigurationProposalsView.as_view(), name="api-config-proposals"),
    re_path(
        r"^api/config/proposals/(?P<number>[0-9]{1,18})/?$",
        ConfigurationProposalView.as_view(),
        name="api-config-proposal",
    ),
    re_path(
        r"^api/config/history/(?P<number>[0-9]{1,18})/restore/?$",
        ConfigurationRestoreView.as_view(),
        name="api-config-restore",
    ),
    re_path(rf"^api/config/services/{_SERVICE}/?$", ServiceConfigurationView.as_view(), name="api-config-service"),
    re_path(
        rf"^api/config/services/{_SERVICE}/openapi/?$", ServiceDocumentView.as_view(), name="api-config-service-openapi"
    ),
    re_path(r"^api/keys/verify/?$", KeyVerifyView.as_view(), name="api-key-verify"),
    re_path(rf"^api/keys/{_KEY_PREFIX}/rotate/?$", KeyRotateView.as_view(), name="api-key-rotate"),
    re_path(r"^api/schema/?$", SchemaView.as_view(**_PUBLIC), name="schema"),
    re_path(r"^api/docs/?$", DocumentationView.as_view(url_name="schema", **_PUBLIC), name="docs"),
]
