"""The staff's pages, and the JSON they are drawn from."""

from django.urls import path

from metrics import dashboard

app_name = "dashboard"
urlpatterns = [
    path("", dashboard.overview, name="overview"),
    path("snapshot.json", dashboard.snapshot, name="snapshot"),
    path("history.json", dashboard.history, name="history"),
    path("events/", dashboard.events, name="events"),
    path("<str:name>/", dashboard.service, name="service"),
    path("<str:name>/detail.json", dashboard.detail, name="detail"),
]
