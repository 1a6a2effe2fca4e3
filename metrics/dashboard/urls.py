"""The staff's pages, and the JSON they are drawn from.

Services have a folder of their own: whatever one is called, no other page hides it.
"""

from django.urls import path

from metrics.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.overview, name="overview"),
    path("snapshot.json", views.snapshot, name="snapshot"),
    path("history.json", views.history, name="history"),
    path("events/", views.events, name="events"),
    path("services/<str:name>/", views.service, name="service"),
    path("services/<str:name>/detail.json", views.detail, name="detail"),
]
