"""The appearance of the admin and its sidebar."""

from typing import Any, Final

from django.urls import reverse_lazy

INDIGO: Final = {
    "50": "#eef1fe",
    "100": "#e0e6fd",
    "200": "#c6d0fb",
    "300": "#a4b3f8",
    "400": "#8193f2",
    "500": "#5169e4",
    "600": "#2f4bd0",
    "700": "#283fae",
    "800": "#24378c",
    "900": "#223270",
    "950": "#151d42",
}
"""The accent colour of the dashboard."""


def _list(model: str) -> Any:
    return reverse_lazy(f"admin:{model}_changelist")


UNFOLD: Final[dict[str, Any]] = {
    "SITE_TITLE": "Intelligence Gateway",
    "SITE_HEADER": "Intelligence Gateway",
    "SITE_ICON": "/static/dashboard/mark.svg",
    "COLORS": {"primary": INDIGO},
    "SCRIPTS": ["/static/dashboard/rowmenu.js"],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/dashboard/mark.svg"}],
    "SIDEBAR": {
        "navigation": [
            {
                "title": "Now",
                "items": [
                    {"title": "Dashboard", "icon": "monitoring", "link": reverse_lazy("dashboard:overview")},
                    {"title": "Circuits", "icon": "electric_bolt", "link": _list("metrics_circuit")},
                    {"title": "Cache", "icon": "bolt", "link": _list("metrics_cachedservice")},
                    {"title": "Explain a request", "icon": "help", "link": reverse_lazy("explain")},
                ],
            },
            {
                "title": "Configuration",
                "separator": True,
                "items": [
                    {"title": "Services", "icon": "route", "link": _list("routing_service")},
                    {"title": "Targets", "icon": "dns", "link": _list("routing_target")},
                    {"title": "API keys", "icon": "key", "link": _list("routing_apikey")},
                    {"title": "History", "icon": "history", "link": _list("routing_configurationrevision")},
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    {"title": "Audit log", "icon": "checklist", "link": _list("metrics_operation")},
                    {"title": "Staff", "icon": "person", "link": _list("auth_user")},
                    {"title": "Groups", "icon": "group", "link": _list("auth_group")},
                ],
            },
        ]
    },
}
