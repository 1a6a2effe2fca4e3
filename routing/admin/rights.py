"""The admin's permission checks, by the rights of `routing.rights`, which apply everywhere."""

from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from routing.admin.form_values import FormValuesMixin
from routing.models import Service
from routing.rights import Names, Right, is_any, may, needed, services


class RightsMixin(FormValuesMixin):
    """For pages and inlines: rows are shown to those who may view, and edited by those who may configure."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.VIEW)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return may(request.user, Right.VIEW)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return may(request.user, Right.CONFIGURE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return may(request.user, Right.CONFIGURE)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        """For actions with the permission `operate`."""
        return may(request.user, Right.OPERATE)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return may(request.user, Right.CONFIGURE)


class ServiceRightsMixin(RightsMixin):
    """The same for rows that belong to a service, also for staff who have the rights for some services.

    They see the rows of these, and act on those of the services for which they have the right that the action needs.
    They add and delete nothing, unless the page says otherwise.
    """

    service_path: ClassVar[str]
    """The lookup of the service's name."""
    viewing: ClassVar[Right] = Right.VIEW
    operated: ClassVar[frozenset[str]] = frozenset({"operate"})
    """The permissions of actions that need the right to operate; others need the right to configure."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._permits(request, self.viewing)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._permits(request, self.viewing, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._permits(request, Right.CONFIGURE, obj)

    def has_operate_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._permits(request, Right.OPERATE, obj)

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)  # type: ignore[misc]  # a ModelAdmin's
        return self.limited(rows, services(request.user, self.viewing))

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """A row is one of a service that the user may change."""
        names = services(request.user, Right.CONFIGURE)
        if names is not None and db_field.related_model is Service:
            options["queryset"] = Service.objects.filter(name__in=names)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def limited(self, rows: Any, names: Names) -> Any:
        """The rows of these services."""
        return rows if names is None else rows.filter(**{f"{self.service_path}__in": names})

    def row_or_404(self, request: HttpRequest, pk: Any, right: Right) -> Any:
        """The row, if it is of a service for which the user has the right. Raises PermissionDenied if there is none."""
        names = services(request.user, right)
        if not is_any(names):
            raise PermissionDenied(needed(right))
        rows = self.limited(self.model._default_manager.all(), names)  # type: ignore[attr-defined]  # as above
        return get_object_or_404(rows, pk=pk)

    def response_action(self, request: HttpRequest, queryset: Any) -> Any:
        """Actions are for the rows of services for which the user has the right that they need."""
        chosen = self.get_actions(request).get(request.POST.get("action", ""))  # type: ignore[attr-defined]  # as above
        needs = set(getattr(chosen[0], "allowed_permissions", ())) if chosen else set()
        right = Right.OPERATE if needs and needs <= self.operated else Right.CONFIGURE
        limited = self.limited(queryset, services(request.user, right))
        return super().response_action(request, limited)  # type: ignore[misc]  # as above

    def _permits(self, request: HttpRequest, right: Right, obj: Any = None) -> bool:
        """`obj` is a row or, as Unfold has it, its key; by default the one in the address."""
        names = services(request.user, right)
        if obj is None and request.resolver_match is not None:
            obj = request.resolver_match.kwargs.get("object_id")
        if names is None or obj is None or not names:
            return is_any(names)
        try:
            rows = self.model._default_manager.filter(pk=getattr(obj, "pk", obj))  # type: ignore[attr-defined]  # as above
        except ValueError:  # not the form of a key
            return False
        return bool(self.limited(rows, names).exists())


class HiddenColumnsMixin:
    """For pages whose rows have secrets: no lookup in the address, which would confirm a viewer's guess at one."""

    hidden_columns: ClassVar[tuple[str, ...]]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        is_hidden = lookup.startswith(self.hidden_columns)
        return not is_hidden and bool(super().lookup_allowed(lookup, value, request))  # type: ignore[misc]  # a ModelAdmin's
