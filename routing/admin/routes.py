"""The admin pages for routes: a list for each service, in the order in which they are tried, and a form for each."""

from typing import Any, ClassVar, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.forms.widgets import Script
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.urls import path
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from routing.admin.fields import HelpTextsMixin
from routing.admin.route_form import RouteForm
from routing.admin.service_settings_admin import ServiceSettingsAdmin
from routing.configuration.document import inline
from routing.database import route_order
from routing.database.deferred import deferred_writes
from routing.database.rows import write
from routing.models import SETTINGS, Route, Service
from routing.pages.site import admin_site, admin_url
from routing.rights import Right, may

SERVICE: Final = "service__name"
"""The list's parameter: the service whose routes are shown."""
LOOKUPS: Final = frozenset({SERVICE, "service__id__exact", "enabled__exact"})
"""Others could tell a viewer whether a guess at a secret is right."""
GONE: Final = _("The routes have changed meanwhile: reload the list.")


class PositionForm(ActionForm):
    position = forms.IntegerField(
        min_value=1,
        max_value=1_000_000,
        required=False,
        label="",
        widget=UnfoldAdminIntegerFieldWidget(
            {"aria-label": _("New position"), "placeholder": _("New position"), "min": "1"}
        ),
    )


@admin.register(Route, site=admin_site())
class RouteAdmin(ServiceSettingsAdmin, HelpTextsMixin, ModelAdmin):
    form = RouteForm
    service_path = SERVICE
    action_form = PositionForm
    list_display = ("number", "path", "method_names", "enabled", "own_settings")
    list_display_links = ("path",)
    list_per_page = 100
    list_max_show_all = 2_000
    list_before_template = "admin/gateway/routes_before.html"
    search_fields = ("path", "methods", "service__name")
    search_help_text = _("Path, method or service")
    ordering = ("service__name", "position", "pk")
    list_select_related = ("service",)
    autocomplete_fields = ("service",)
    actions: ClassVar[Any] = ("enable", "disable", "move")
    sections = RouteForm.sections
    identity_fields = ("service", "path", "enabled")
    plain_fieldsets = (
        (None, {"fields": ("service", ("path", "enabled"), "methods", "invalidates", "idempotency")}),
        (_("Access and limits"), {"fields": ("auth", "scopes", "rate_limit", "max_concurrency")}),
        (
            _("Backend calls"),
            {"fields": ("headers", ("forward_authorization", "preserve_host"), ("websocket", "cost_per_call"))},
        ),
    )

    class Media:
        js = (*ServiceSettingsAdmin.Media.js, Script("forms/route_order.js", type="module"))

    def get_list_display(self, request: HttpRequest) -> Any:
        """Routes of several services are named with them."""
        shown = super().get_list_display(request)
        return shown if request.GET.get(SERVICE) else ("service_name", *shown)

    def get_urls(self) -> list[Any]:
        move = path("<int:pk>/move/", self.admin_site.admin_view(self.move_one), name="routing_route_move")
        return [move, *super().get_urls()]

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """A route stays with its service."""
        own = super().get_readonly_fields(request, obj)
        return (*own, "service") if obj is not None else own

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A route that is added from the list of a service is one of this service."""
        found: dict[str, Any] = super().get_changeform_initial_data(request)
        name = QueryDict(request.GET.get("_changelist_filters", "")).get(SERVICE)
        service = self._service(request, name)
        return found | ({"service": service.pk} if service else {})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:  # noqa: ARG002 - Django's signature
        return lookup in LOOKUPS

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Rows can be moved where a service's routes are shown in their order, and all of them."""
        changelist = super().get_changelist_instance(request)
        name = changelist.params.get(SERVICE)
        is_ordered = bool(name) and not changelist.query and not {"o", "enabled__exact"} & changelist.params.keys()
        changelist.service = self._service(request, name)
        changelist.is_movable = is_ordered and may(request.user, Right.CONFIGURE, name)
        for row in changelist.result_list:
            row.is_movable = changelist.is_movable
        return changelist

    def _service(self, request: HttpRequest, name: str | None) -> Service | None:
        """The service of this name; None if the user may not view it."""
        is_shown = bool(name) and may(request.user, Right.VIEW, name)
        return Service.objects.filter(name=name).first() if is_shown else None

    @admin.display(description=_("position"))
    def number(self, route: Any) -> SafeString | str:
        """With a handle, by which the row is dragged, or moved with the arrow keys."""
        if not route.is_movable:
            return str(route.position + 1)
        return format_html(
            '<button type="button" class="route-handle" data-move="{}" data-route="{}" title="{}">'
            '<span class="material-symbols-outlined" aria-hidden="true">drag_indicator</span>'
            '<span data-position>{}</span><span class="sr-only">: {}</span></button>',
            admin_url("routing_route_move", route.pk),
            route.pk,
            gettext("Drag, or use the arrow keys"),
            route.position + 1,
            gettext("move %(route)s") % {"route": route},
        )

    @admin.display(description=_("service"))
    def service_name(self, route: Route) -> str:
        return route.service.name

    @admin.display(description=_("methods"))
    def method_names(self, route: Route) -> str:
        return " ".join(map(str, route.methods or ())) or gettext("any")

    @admin.display(description=_("own settings"))
    def own_settings(self, route: Route) -> str:
        """The names of what the route does not inherit; of what has a short and harmless value, that too."""
        shown = ("auth", "rate_limit", "timeout")
        values = {name: getattr(route, name) for name in SETTINGS}
        return ", ".join(
            f"{name}: {inline(value)}" if name in shown else name
            for name, value in values.items()
            if value not in (None, "")
        )

    def save_model(self, request: HttpRequest, obj: Route, form: Any, change: bool) -> None:
        if not change:
            obj.position = route_order.next_position(obj.service)
        super().save_model(request, obj, form, change)

    def move_one(self, request: HttpRequest, pk: int) -> HttpResponse:
        """POST `before=PK` or `after=PK`: move a route beside another of its service."""
        if request.method != "POST" or not self.has_change_permission(request):
            raise PermissionDenied
        route: Route = self.row_or_404(request, pk, Right.CONFIGURE)
        side = "before" if "before" in request.POST else "after"
        neighbour = request.POST.get(side, "")
        try:
            if not (neighbour.isascii() and neighbour.isdigit() and len(neighbour) < 19):
                raise route_order.NoLongerThere
            route_order.move_beside(route.service, pk, int(neighbour), is_before=side == "before")
        except route_order.NoLongerThere:
            return JsonResponse({"error": GONE}, status=409)
        return JsonResponse({"position": Route.objects.values_list("position", flat=True).get(pk=pk) + 1})

    @admin.action(description=_("Enable"), permissions=("change",))
    def enable(self, request: HttpRequest, queryset: models.QuerySet[Route]) -> None:
        self._set_enabled(request, queryset, enabled=True)

    @admin.action(description=_("Disable: callers receive 503"), permissions=("change",))
    def disable(self, request: HttpRequest, queryset: models.QuerySet[Route]) -> None:
        self._set_enabled(request, queryset, enabled=False)

    @admin.action(description=_("Move to a position"), permissions=("change",))
    def move(self, request: HttpRequest, queryset: models.QuerySet[Route]) -> None:
        position, services = request.POST.get("position", ""), {route.service for route in queryset}
        if not (position.isascii() and position.isdigit() and 0 < len(position) < 8):
            self.message_user(request, gettext("Enter the new position next to the action."), messages.ERROR)
        elif len(services) != 1:
            self.message_user(request, gettext("Select routes of one service."), messages.ERROR)
        else:
            moved = list(queryset.values_list("pk", flat=True))
            route_order.move_to(services.pop(), moved, int(position))
            self._log(request, moved, f"Moved to {position}.")
            self.message_user(request, gettext("%(number)d moved.") % {"number": len(moved)})

    def _set_enabled(self, request: HttpRequest, queryset: models.QuerySet[Route], *, enabled: bool) -> None:
        verb = "enabled" if enabled else "disabled"
        with transaction.atomic(), deferred_writes():
            changed = [route.pk for route in queryset if write(route, {"enabled": enabled})]
        self._log(request, changed, f"{verb.capitalize()}.")
        self.message_user(request, changed_text(len(changed), enabled=enabled))

    def _log(self, request: HttpRequest, routes: list[int], message: str) -> None:
        rows = Route.objects.filter(pk__in=routes)
        LogEntry.objects.log_actions(
            int(request.user.pk or 0), rows, CHANGE, change_message=message, single_object=False
        )


def changed_text(number: int, *, enabled: bool) -> str:
    """The message after rows were enabled or disabled."""
    text = gettext("%(number)d enabled.") if enabled else gettext("%(number)d disabled.")
    return text % {"number": number}


def list_address(service: Service) -> str:
    """The list of a service's routes."""
    return f"{admin_url('routing_route_changelist')}?{urlencode({SERVICE: service.name})}"
