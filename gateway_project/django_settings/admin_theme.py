"""The appearance of the admin and its sidebar."""

from typing import Any, Final

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import Promise, lazy
from django.utils.translation import gettext_lazy as _

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


APPEARANCE: Final[dict[str, Any]] = {
    "SITE_TITLE": "Intelligence Gateway",
    "SITE_HEADER": "Intelligence Gateway",
    "SITE_ICON": _static("dashboard/mark.svg"),
    "COLORS": {"primary": INDIGO},
    "STYLES": [_static("dashboard/admin.css"), _static("dashboard/palette.css")],
    "SCRIPTS": [
        _static("dashboard/copy.js"),
        _static("dashboard/landmarks.js"),
        _static("dashboard/rowmenu.js"),
        _static("dashboard/fieldnames.js"),
    ],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _static("dashboard/mark.svg")}],
}


def _list(model: str, site: str = "admin") -> Any:
    return reverse_lazy(f"admin:{model}_changelist", current_app=site)


def _item(title: str | Promise, icon: str, link: Any, what: str = "gateway") -> dict[str, Any]:
    """Shown to those who may open it. The check is named, since settings cannot import what needs them."""
    return {
        "title": title,
        "icon": icon,
        "link": link,
        "permission": f"gateway_project.django_settings.sidebar.may_view_{what}",
    }


def _gateway(site: str) -> list[dict[str, Any]]:
    """The sections of the sidebar about the gateway itself."""
    return [
        {
            "title": _("Now"),
            "items": [
                _item(_("Dashboard"), "monitoring", reverse_lazy("dashboard:overview"), "services"),
                _item(_("Circuits"), "electric_bolt", _list("metrics_circuit", site), "services"),
                _item(_("Cache"), "bolt", _list("metrics_cachedservice", site), "services"),
                _item(_("Credentials"), "vpn_key", _list("routing_backendcredential", site), "services"),
                _item(_("Failed deliveries"), "webhook", _list("routing_faileddelivery", site), "deliveries"),
                _item(_("Watches"), "notifications_active", _list("routing_watch", site), "services"),
                _item(_("Alert messages"), "outgoing_mail", _list("metrics_alertmessage", site)),
                _item(_("Explain a request"), "help", reverse_lazy("explain-request"), "services"),
            ],
        },
        {
            "title": _("Configuration"),
            "separator": True,
            "items": [
                _item(_("Services"), "route", _list("routing_service", site), "services"),
                _item(_("Routes"), "alt_route", _list("routing_route", site), "services"),
                _item(_("Targets"), "dns", _list("routing_target", site), "services"),
                _item(_("Webhooks"), "webhook", _list("routing_webhook", site)),
                _item(_("Issuers"), "badge", _list("routing_issuer", site)),
                _item(_("Alerts"), "notifications", _list("routing_alertrule", site)),
                _item(_("Revoked tokens"), "block", _list("routing_revocation", site)),
                _item(_("API keys"), "key", _list("routing_apikey", site)),
                _item(_("Signing keys"), "draw", _list("routing_signingkey", site)),
                _item(_("Consumers"), "group", _list("routing_consumer", site)),
                _item(_("Teams"), "groups", _list("routing_team", site)),
                _item(_("Plans"), "speed", _list("routing_plan", site)),
                _item(_("Proposals"), "rule", _list("routing_configurationproposal", site), "services"),
                _item(_("History"), "history", _list("routing_configurationrevision", site), "services"),
            ],
        },
    ]


def included(site: str) -> dict[str, Any]:
    """For a site of this name beside that of another team's project, which has the users."""
    audit_log = _item(_("Audit log"), "checklist", _list("metrics_operation", site), "services")
    roles = _item(_("Roles for services"), "shield_person", _list("routing_servicerole", site), "service_roles")
    records = {"title": _("Records"), "separator": True, "items": [audit_log, roles]}
    return {
        **APPEARANCE,
        "SITE_URL": reverse_lazy("dashboard:overview"),
        "SIDEBAR": {"navigation": [*_gateway(site), records]},
    }


def with_sign_in(theme: dict[str, Any]) -> dict[str, Any]:
    """The theme, whose sidebar also leads to the pages of sign-in."""
    *sections, people = theme["SIDEBAR"]["navigation"]
    items = [
        _item(_("Sessions"), "devices", _list("usersessions_usersession"), "sessions"),
        _item(_("Identities"), "badge", _list("metrics_identity"), "sessions"),
        _item(_("Second factors"), "password", _list("mfa_authenticator"), "second_factors"),
    ]
    return theme | {"SIDEBAR": {"navigation": [*sections, {**people, "items": [*people["items"], *items]}]}}


UNFOLD: Final[dict[str, Any]] = {
    **APPEARANCE,
    "SIDEBAR": {
        "navigation": [
            *_gateway("admin"),
            {
                "title": _("People"),
                "separator": True,
                "items": [
                    _item(_("Portal members"), "contacts", _list("routing_member")),
                    _item(_("Plan requests"), "inbox", _list("routing_planrequest")),
                    _item(_("Audit log"), "checklist", _list("metrics_operation"), "services"),
                    _item(_("Staff"), "person", _list("auth_user"), "users"),
                    _item(_("Groups"), "group", _list("auth_group"), "groups"),
                    _item(_("Roles for services"), "shield_person", _list("routing_servicerole"), "service_roles"),
                ],
            },
        ]
    },
}
