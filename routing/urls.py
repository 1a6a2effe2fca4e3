"""The services' URLs under Django."""

from django.urls import re_path

from routing.views import ServiceProxyView

urlpatterns = [re_path(r"^api/v1(?:/.*)?$", ServiceProxyView.as_view(), name="service")]
