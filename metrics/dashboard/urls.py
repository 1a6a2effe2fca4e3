"""The dashboard's pages and the JSON they show.

Services have their own prefix, so that no service name conflicts with another page.
"""

from django.urls import path

from metrics.dashboard import views
from metrics.dashboard.advice import advice_page, draft_page
from metrics.dashboard.alerts import alerts_page
from metrics.dashboard.breaker import breaker_page
from metrics.dashboard.callers import caller_page, callers_page
from metrics.dashboard.history import history_csv, history_json
from metrics.dashboard.palette.views import palette_json
from metrics.dashboard.replay import replay_page
from metrics.dashboard.requests import request_page, requests_page
from metrics.dashboard.savings import savings_page
from metrics.dashboard.usage import usage_page

app_name = "dashboard"
urlpatterns = [
    path("", views.overview_page, name="overview"),
    path("snapshot.json", views.snapshot_json, name="snapshot"),
    path("history.json", history_json, name="history"),
    path("history/<str:chart>.csv", history_csv, name="history_csv"),
    path("palette.json", palette_json, name="palette"),
    path("events/", views.events_page, name="events"),
    path("usage/", usage_page, name="usage"),
    path("advice/", advice_page, name="advice"),
    path("advice/breaker/", breaker_page, name="what_if"),
    path("advice/draft/", draft_page, name="draft"),
    path("savings/", savings_page, name="savings"),
    path("callers/", callers_page, name="callers"),
    path("callers/<str:kind>/", caller_page, name="caller"),
    path("alerts/", alerts_page, name="alerts"),
    path("requests/", requests_page, name="requests"),
    path("requests/<str:identifier>/", request_page, name="request"),
    path("replay/", replay_page, name="replay"),
    path("services/<str:name>/", views.service_page, name="service"),
    path("services/<str:name>/detail.json", views.detail_json, name="detail"),
    path("services/<str:name>/routes.json", views.routes_json, name="routes"),
    path("services/<str:name>/incident.json", views.incident_json, name="incident"),
]
