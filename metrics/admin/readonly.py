"""The base of admin pages whose rows are not edited."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin

from routing.admin.rights import RightsMixin, ServiceRightsMixin


class ReadOnlyMixin:
    """Rows can be viewed and acted upon, but not added, changed or deleted."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - Django's signature
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002 - as above
        return False


class ReadOnlyAdmin(ReadOnlyMixin, RightsMixin, ModelAdmin):
    """For rows that belong to no service."""


class ServiceReadOnlyAdmin(ReadOnlyMixin, ServiceRightsMixin, ModelAdmin):
    """For rows that belong to a service."""
