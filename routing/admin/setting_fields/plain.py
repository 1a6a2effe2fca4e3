"""The settings other than sections: each is one value, with one field."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.utils.translation import gettext_lazy as _

from routing.admin.setting_fields.base import (
    UNSET,
    Choice,
    Flag,
    Label,
    Number,
    SettingField,
    Together,
    Whole,
    aria_label,
    select,
    text_input,
)
from routing.admin.setting_fields.lists import Choices, Named, Words
from routing.admin.setting_fields.measures import Rate
from routing.admin.setting_fields.section import NONE
from routing.admin.setting_fields.suggestions import scope_names, tag_names
from routing.configuration.values import SUPPORTED_METHODS
from routing.router.policy import Auth

SHARED: Final[Mapping[str, Callable[[], SettingField]]] = {
    "auth": lambda: Choice(label=_("Authentication"), choices=Auth, help_text=_("of callers")),
    "scopes": lambda: Words(
        label=_("Scopes"),
        help_text=_("that a caller needs in addition to the service's name"),
        suggestions=scope_names,
        empty=NONE,
    ),
    "rate_limit": lambda: Rate(label=_("Rate limit"), help_text=_("of each caller; default: RATE_LIMIT")),
    "max_concurrency": lambda: Whole(
        label=_("Calls at once"), unit=_("calls"), help_text=_("in flight, of each worker; default: 256")
    ),
    "headers": lambda: Named(
        label=_("Header fields"),
        help_text=_(
            "sent to the backend, one Name: value in a line; secrets are env:GATEWAY_SECRET_NAME or "
            "file:/run/secrets/name, not values"
        ),
    ),
    "forward_authorization": lambda: Flag(
        label=_("Forward Authorization"), help_text=_("send the client's Authorization to the backend")
    ),
    "preserve_host": lambda: Flag(
        label=_("Preserve Host"), help_text=_("send the client's Host to the backend instead of the target's")
    ),
    "websocket": lambda: Flag(label=_("WebSocket"), help_text=_("pass WebSocket upgrades to the service")),
    "cost_per_call": lambda: Number(label=_("Cost per call"), unit="USD", help_text=_("saved by each avoided call")),
}
_PUBLIC: Final = {"on": True, "off": False}


class PublicName(SettingField):
    """A name under which something is shown, or that it is shown under its own name, or not."""

    def __init__(self, *, label: Label, help_text: Label = "") -> None:
        choices = [("", _("under this name")), ("on", _("under its own name")), ("off", _("not"))]
        mode = select(choices, width="setting-unit", **aria_label(label, _("how")))
        super().__init__(label=label, help_text=help_text, widget=Together([text_input("grow"), mode]))

    def show(self, value: Any) -> Any:
        word = {True: "on", False: "off"}.get(value, "") if isinstance(value, bool) else ""
        return ["" if word else super().show(value), word]

    def read(self, shown: Any) -> Any:
        text, mode = shown or ("", "")
        return _PUBLIC.get(mode, text or UNSET)


SERVICE: Final[Mapping[str, Callable[[], SettingField]]] = {
    "hosts": lambda: Words(
        label=_("Hosts"),
        help_text=_("crm.example.com: names that reach the service without the /api/v1/NAME prefix"),
    ),
    "labels": lambda: Named(
        label=_("Labels"),
        help_text=_(
            "one name: value in a line, such as team: payments; the dashboard groups and finds services by them"
        ),
    ),
    "status_page": lambda: PublicName(
        label=_("Status page"), help_text=_("lists the service on /status/ (STATUS_PAGE); default: not listed")
    ),
}
ROUTE: Final[Mapping[str, Callable[[], SettingField]]] = {
    "methods": lambda: Choices(label=_("Methods"), choices=SUPPORTED_METHODS, help_text=_("none: any")),
    "invalidates": lambda: Words(
        label=_("Invalidates"),
        help_text=_("cache tags that a successful call invalidates; {name} is a parameter of the path"),
        suggestions=tag_names,
    ),
}
EMPTY_VALUES: Final[Mapping[str, Any]] = {"auth": "", "rate_limit": "", "hosts": [], "methods": [], "invalidates": []}
"""What is stored where nothing is set; None for all others."""
