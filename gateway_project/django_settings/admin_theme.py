"""The appearance of the admin and its sidebar."""

from typing import Any, Final

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import lazy

_static: Final = lazy(static, str)
"""The address of a static file, with the hash in its name: settings are read before files are."""

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


def _item(title: str, icon: str, link: Any, what: str = "gateway") -> dict[str, Any]:
    """Shown to those who may open it. The check is named, since settings cannot import what needs them."""
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "permission": f"gateway_project.django_settings.sidebar.may_view_{what}",
    }


def with_sign_in(theme: dict[str, Any]) -> dict[str, Any]:
    """The theme, whose sidebar also leads to the pages of sign-in."""
    *sections, people = theme["SIDEBAR"]["navigation"]
    items = [
        _item("Sessions", "devices", _list("usersessions_usersession"), "sessions"),
        _item("Identities", "badge", _list("metrics_identity"), "sessions"),
        _item("Second factors", "password", _list("mfa_authenticator"), "second_factors"),
    ]
    return theme | {"SIDEBAR": {"navigation": [*sections, {**people, "items": [*people["items"], *items]}]}}


UNFOLD: Final[dict[str, Any]] = {
    "SITE_TITLE": "Intelligence Gateway",
    "SITE_HEADER": "Intelligence Gateway",
    "SITE_ICON": _static("dashboard/mark.svg"),
    "COLORS": {"primary": INDIGO},
    "STYLES": [_static("dashboard/admin.css"), _static("dashboard/palette.css")],
    "SCRIPTS": [
        _static("dashboard/landmarks.js"),
        _static("dashboard/rowmenu.js"),
        _static("dashboard/fieldnames.js"),
    ],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("dashboard/mark.svg")}],
    "SIDEBAR": {
        "navigation": [
            {
                "title": "Now",
                "items": [
                    _item("Dashboard", "monitoring", reverse_lazy("dashboard:overview")),
                    _item("Circuits", "electric_bolt", _list("metrics_circuit")),
                    _item("Cache", "bolt", _list("metrics_cachedservice")),
                    _item("Credentials", "vpn_key", _list("routing_backendcredential")),
                    _item("Failed deliveries", "webhook", _list("routing_faileddelivery"), "deliveries"),
                    _item("Watches", "notifications_active", _list("routing_watch")),
                    _item("Explain a request", "help", reverse_lazy("explain")),
                ],
            },
            {
                "title": "Configuration",
                "separator": True,
                "items": [
                    _item("Services", "route", _list("routing_service")),
                    _item("Routes", "alt_route", _list("routing_route")),
                    _item("Targets", "dns", _list("routing_target")),
                    _item("Webhooks", "webhook", _list("routing_webhook")),
                    _item("Issuers", "badge", _list("routing_issuer")),
                    _item("Revoked tokens", "block", _list("routing_revocation")),
                    _item("API keys", "key", _list("routing_apikey")),
                    _item("Signing keys", "draw", _list("routing_signingkey")),
                    _item("Consumers", "group", _list("routing_consumer")),
                    _item("Teams", "groups", _list("routing_team")),
                    _item("Plans", "speed", _list("routing_plan")),
                    _item("History", "history", _list("routing_configurationrevision")),
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    _item("Portal members", "contacts", _list("routing_member")),
                    _item("Plan requests", "inbox", _list("routing_planrequest")),
                    _item("Audit log", "checklist", _list("metrics_operation")),
                    _item("Staff", "person", _list("auth_user"), "users"),
                    _item("Groups", "group", _list("auth_group"), "groups"),
                ],
            },
        ]
    },
}
