"""The admin's permission checks, by the rights that hold everywhere."""

from typing import Any

from django.http import HttpRequest

from routing.rights import Right, may


class RightsMixin:
    """For pages and inlines: rows are shown to those who may view, and edited by those who may configure."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request.user, Right.VIEW)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return may(request.user, Right.VIEW)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return may(request.user, Right.CONFIGURE)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return may(request.user, Right.CONFIGURE)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """For actions with the permission `operate`."""
        return may(request.user, Right.OPERATE)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        return may(request.user, Right.CONFIGURE)
