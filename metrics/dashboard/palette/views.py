"""`/dashboard/palette.json?q=`: what the command palette shows for a query."""

import logging
from collections.abc import Callable, Iterable

import msgspec
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from metrics.dashboard.palette import sources
from metrics.dashboard.palette.items import MAX_QUERY, Group, PaletteItem, matching, tokens
from metrics.dashboard.views import services_page, shown
from routing.rights import Right, services

log = logging.getLogger(__name__)


@services_page
def palette_json(request: HttpRequest) -> HttpResponse:
    """`{"groups": [{"title", "items": [{"title", "url", "detail"}]}]}`, at most MAX_ITEMS in a group."""
    query = request.GET.get("q", "").strip()[:MAX_QUERY]
    groups = [group for group in _groups(request, query) if group.items]
    shown = [
        {
            "title": group.title,
            "items": [{"title": item.title, "url": item.url, "detail": item.detail} for item in group.items],
        }
        for group in groups
    ]
    return HttpResponse(msgspec.json.encode({"groups": shown}), content_type="application/json")


def _groups(request: HttpRequest, query: str) -> Iterable[Group]:
    """Without a query, pages and services are suggested."""
    wanted, names = tokens(query), shown(request)
    if query:
        yield Group(_("Requests"), sources.requests_with(query, names))
    yield Group(_("Services"), matching(sources.services(names), wanted))
    yield Group(_("Pages"), matching(sources.pages(request), wanted))
    if not query:
        return
    yield Group(_("Operations"), matching(sources.actions(services(request.user, Right.OPERATE)), wanted))
    yield Group(_("Routes"), matching(sources.routes(names), wanted))
    if names is not None:
        return
    yield Group(_("API keys"), _rows(lambda: sources.keys(wanted)))
    yield Group(_("Consumers"), _rows(lambda: sources.consumers(wanted)))


def _rows(read: Callable[[], list[PaletteItem]]) -> list[PaletteItem]:
    """None while the database is unavailable: the rest is found without it."""
    try:
        return read()
    except (DatabaseError, InterfaceError):
        log.warning("the palette cannot search the database", exc_info=True)
        return []
