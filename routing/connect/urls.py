"""The URLs of the pages to connect accounts."""

from django.urls import path, re_path

from routing.connect.links import LinksView
from routing.connect.views import CallbackView, ConnectView, IndexView

_SERVICE = r"(?P<service>[A-Za-z][A-Za-z0-9_-]{0,62})"

urlpatterns = [
    path("", IndexView.as_view(), name="connect-index"),
    re_path(rf"^{_SERVICE}/?$", ConnectView.as_view(), name="connect-service"),
    re_path(rf"^{_SERVICE}/callback/?$", CallbackView.as_view(), name="connect-callback"),
    re_path(rf"^{_SERVICE}/links/?$", LinksView.as_view(), name="connect-links"),
]
