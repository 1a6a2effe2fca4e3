"""The staff's pages, and the JSON they are drawn from.

Services have a folder of their own: whatever one is called, no other page hides it.
"""

from django.urls import path

from metrics import dashboard

app_name = "dashboard"
urlpatterns = [
    path("", dashboard.overview, name="overview"),
    path("snapshot.json", dashboard.snapshot, name="snapshot"),
    path("history.json", dashboard.history, name="history"),
    path("events/", dashboard.events, name="events"),
    path("services/<str:name>/", dashboard.service, name="service"),
    path("services/<str:name>/detail.json", dashboard.detail, name="detail"),
]
