"""Where the palette's items come from, as far as a member of staff may see them. For Django's threads: it blocks."""

from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from metrics import requests, selectors
from metrics.dashboard.palette.items import PaletteItem
from metrics.dashboard.request_rows import clock_text, request_url, status_text
from metrics.request_log.identifiers import id_in, key_prefix
from routing.models import ApiKey, Consumer
from routing.pages.site import admin_site, admin_url, is_included, theme
from routing.rights import Names, Right, may
from routing.router.table import Service

MAX_ROWS: Final = 5
"""The most keys, and the most consumers, that are found."""
MIN_WORD: Final = 2
"""Characters of a word that keys and consumers are searched for."""
PAGES: Final = (
    (gettext_lazy("Dashboard"), "dashboard:overview"),
    (gettext_lazy("Events"), "dashboard:events"),
    (gettext_lazy("Requests"), "dashboard:requests"),
    (gettext_lazy("Alerts"), "dashboard:alerts"),
    (gettext_lazy("Usage"), "dashboard:usage"),
    (gettext_lazy("Callers"), "dashboard:callers"),
    (gettext_lazy("Savings"), "dashboard:savings"),
    (gettext_lazy("Advice"), "dashboard:advice"),
    (gettext_lazy("Admin"), "admin:index"),
)
SERVICE_ACTIONS: Final = (
    ("reset", gettext_lazy("Reset the circuit of %(service)s")),
    ("open", gettext_lazy("Force open the circuit of %(service)s")),
    ("disable", gettext_lazy("Disable the circuit of %(service)s")),
    ("tag", gettext_lazy("Invalidate a tag of %(service)s")),
    ("warm", gettext_lazy("Warm the cache of %(service)s")),
    ("flush", gettext_lazy("Flush the cache of %(service)s")),
)
"""The names of actions are those of commands.js."""
ACTIONS: Final = (
    ("reset-all", gettext_lazy("Reset all circuits")),
    ("warm-all", gettext_lazy("Warm the whole cache")),
    ("flush-all", gettext_lazy("Flush the whole cache")),
)


def _configured(names: Names) -> list[tuple[str, Service]]:
    services = selectors.configured_services()
    return [(name, services[name]) for name in selectors.service_names(names)]


def services(names: Names) -> Iterator[PaletteItem]:
    for name, service in _configured(names):
        hosts = " ".join(service.hosts)
        yield PaletteItem(name, reverse("dashboard:service", args=[name]), hosts)


def routes(names: Names) -> Iterator[PaletteItem]:
    """The routes of these services. Each leads to the requests that it has matched."""
    address = reverse("dashboard:requests")
    for name, service in _configured(names):
        for route in service.routes:
            query = urlencode({"service": name, "route": route.path})
            yield PaletteItem(f"{name} {route.path}", f"{address}?{query}", " ".join(route.methods))


def requests_with(query: str, names: Names) -> list[PaletteItem]:
    """The requests with this id, the latest first."""
    identifier = id_in(query)
    if not identifier:
        return []
    return [
        PaletteItem(
            f"{each.record.method} {each.record.target_path}",
            request_url(each),
            f"{status_text(each.record)}, {clock_text(each.record.at)}",
        )
        for each in requests.find(identifier, names).records[:MAX_ROWS]
    ]


def keys(wanted: Sequence[str]) -> list[PaletteItem]:
    """API keys by name, prefix or owner. What is shown is never the key."""
    if not wanted or max(map(len, wanted)) < MIN_WORD:
        return []
    condition = Q()
    for word in wanted:
        condition &= Q(name__icontains=word) | Q(prefix__istartswith=key_prefix(word)) | Q(owner__icontains=word)
    return [
        PaletteItem(str(key), admin_url("routing_apikey_change", key.pk), key.owner)
        for key in ApiKey.objects.filter(condition)[:MAX_ROWS]
    ]


def consumers(wanted: Sequence[str]) -> list[PaletteItem]:
    if not wanted or max(map(len, wanted)) < MIN_WORD:
        return []
    condition = Q()
    for word in wanted:
        condition &= Q(name__icontains=word)
    return [
        PaletteItem(consumer.name, admin_url("routing_consumer_change", consumer.pk))
        for consumer in Consumer.objects.filter(condition)[:MAX_ROWS]
    ]


def pages(request: HttpRequest) -> Iterator[PaletteItem]:
    """The dashboard's, and those of the admin's sidebar that this user may open."""
    known = set()
    for title, name in PAGES:
        known.add(address := reverse(name, current_app=admin_site().name))
        yield PaletteItem(str(title), address)
    if may(request.user, Right.CONFIGURE):
        yield PaletteItem(_("Replay a draft"), reverse("dashboard:replay"))
    for section in theme()["SIDEBAR"]["navigation"]:
        for item in section["items"]:
            if str(item["link"]) not in known and import_string(item["permission"])(request):
                yield PaletteItem(str(item["title"]), str(item["link"]), _("Admin"))
    if not is_included():
        yield PaletteItem(_("API documentation"), reverse("docs"))


def actions(names: Names) -> Iterator[PaletteItem]:
    """The actions on these services. Each leads to a page that asks for confirmation."""
    overview = reverse("dashboard:overview")
    for action, title in ACTIONS if names is None else ():
        yield PaletteItem(str(title), f"{overview}#action={action}")
    for name in selectors.service_names(names):
        address: Any = reverse("dashboard:service", args=[name])
        for action, title in SERVICE_ACTIONS:
            yield PaletteItem(title % {"service": name}, f"{address}#action={action}")
